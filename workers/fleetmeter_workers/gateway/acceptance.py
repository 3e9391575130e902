"""What travels for a message that came in: its key, its bytes, its headers; nothing is turned away here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleetmeter_rules.instant import to_micros
from fleetmeter_wire.device_hint import device_of
from fleetmeter_wire.message import KEPT_BYTES, MAX_BYTES
from fleetmeter_wire.record import Entry, Headers, encode_headers
from fleetmeter_workers.gateway import metrics
from fleetmeter_workers.gateway.registry import Registry
from fleetmeter_workers.gateway.usage_topic import Outgoing

MAX_MESSAGE_BYTES: Final = MAX_BYTES
MAX_NAME: Final = 256
"""Longest adapter, backfill id or topic that travels whole."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came in. `received`: our clock in microseconds. `stated`: what a backfill says. `key`:
    the HTTP request's `Idempotency-Key`."""

    entry: Entry
    principal: str
    adapter: str
    topic: str
    raw: bytes
    received: int
    backfill: str | None = None
    stated: str | None = None
    key: str | None = None


class Acceptance:
    """Makes records of arrivals, with the registry's customer as their key."""

    def __init__(self, registry: Registry) -> None:
        """`registry` says whose device it is."""
        self._registry = registry

    def outgoing(self, arrival: Arrival) -> Outgoing:
        """The record of an arrival; its key is empty when the message names no known device."""
        stated = parse_stated(arrival.stated) if arrival.backfill is not None else None
        too_large = len(arrival.raw) > MAX_BYTES
        headers = Headers(
            adapter=arrival.adapter[:MAX_NAME],
            entry=arrival.entry,
            principal=arrival.principal,
            received=arrival.received,
            topic=arrival.topic[:MAX_NAME],
            backfill=None if arrival.backfill is None else arrival.backfill[:MAX_NAME],
            stated=stated,
            refusal="too_large" if too_large else None,
            key=arrival.key,
        )
        if too_large:
            metrics.REFUSED.labels(arrival.entry, "too_large").inc()
            return Outgoing(b"", arrival.raw[:KEPT_BYTES], encode_headers(headers))
        at = arrival.received if stated is None else stated
        return Outgoing(self._key(arrival, at), arrival.raw, encode_headers(headers))

    def _key(self, arrival: Arrival, at: int) -> bytes:
        device = device_of(arrival.adapter, arrival.raw)
        if device is None:
            return b""
        if not self._registry.knows(device):
            self._registry.catch_up()
        customer = self._registry.owner(device, at)
        if not customer:
            metrics.UNKNOWN_DEVICE.inc()
        return customer.encode()


def parse_stated(text: str | None) -> int | None:
    """A stated receive time (whole microseconds since 1970, or RFC 3339) in microseconds; None if neither."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    try:
        return to_micros(datetime.fromisoformat(text))
    except ValueError:
        return None
