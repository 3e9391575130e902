"""The messages of the measurements: a fleet's envelopes with copies among them, the same for all variants."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleetmeter_rules.instant import to_micros
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.consumer.record import Record

START = datetime(2026, 3, 10, tzinfo=UTC)
"""The log time of the first message; every event lies in March 2026."""
NEAR = 5000
"""A copy repeats one of this many messages before it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as a device sent it and the gateway stored it."""

    device: str
    sequence: int
    quantity: str
    event_at: datetime
    log_time: datetime
    value: bytes
    headers: tuple[tuple[str, bytes | str | None], ...]


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many devices, of how many customers, and the share of copies."""

    devices: int = 2000
    customers: int = 20
    copies: float = 0.01
    prefix: str = "meter"

    def uid(self, number: int) -> str:
        """The device's uid."""
        return f"{self.prefix}-{number:06d}"

    def customer(self, number: int) -> str:
        """The owner of the device."""
        return f"{self.prefix}-owner-{number % self.customers}"

    def owners(self) -> list[tuple[str, str]]:
        """Every device with its owner."""
        return [(self.uid(number), self.customer(number)) for number in range(self.devices)]

    def messages(self, count: int, first: int = 0, seed: int = 1) -> list[Sent]:
        """`count` messages; the devices' sequences begin at `first`, so that a later call can go on."""
        chance = random.Random(seed)
        sequences = [first] * self.devices
        sent: list[Sent] = []
        for number in range(count):
            log_time = START + timedelta(milliseconds=number + first)
            if sent and chance.random() < self.copies:
                old = sent[-chance.randrange(1, min(NEAR, len(sent)) + 1)]
                sent.append(
                    Sent(old.device, old.sequence, old.quantity, old.event_at, log_time, old.value,
                         self._headers(log_time))
                )  # fmt: skip
                continue
            device = chance.randrange(self.devices)
            sequences[device] += 1
            sent.append(self._message(device, sequences[device], log_time, chance))
        return sent

    def _message(self, device: int, sequence: int, log_time: datetime, chance: random.Random) -> Sent:
        event_at = log_time - timedelta(
            seconds=chance.randrange(1, 120), microseconds=chance.randrange(10**6)
        )
        sent_at = log_time - timedelta(milliseconds=chance.randrange(20, 400))
        quantity = f"{chance.randrange(1, 5000) / 100:.2f}"
        message = {
            "device": self.uid(device),
            "epoch": "3",
            "seq": sequence,
            "eventAt": event_at.isoformat().replace("+00:00", "Z"),
            "sentAt": sent_at.isoformat().replace("+00:00", "Z"),
            "items": [{"metric": "energy", "quantity": quantity}],
        }
        value = json.dumps(message).encode()
        return Sent(self.uid(device), sequence, quantity, event_at, log_time, value, self._headers(log_time))

    def _headers(self, log_time: datetime) -> tuple[tuple[str, bytes], ...]:
        received = to_micros(log_time) - 3000
        headers = Headers("json", "mqtt", "gateway", received, f"uplink/json/{self.prefix}")
        return tuple(encode_headers(headers))


def records(sent: Sequence[Sent], partition: int = 0, first: int = 0) -> list[Record]:
    """The messages as the consumer's source hands them on, in one partition."""
    return [
        Record(partition, first + number, 0, message.log_time, message.headers, message.value)
        for number, message in enumerate(sent)
    ]


def batches(found: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """The records in the consumer's batches."""
    for at in range(0, len(found), size):
        yield found[at : at + size]
