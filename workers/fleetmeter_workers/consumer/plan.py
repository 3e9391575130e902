"""The plan of a batch: from messages and what is known to candidates for the ledger; a pure step."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from fleetmeter_rules.event_time import Ambiguous, Resolved, resolve_event_time
from fleetmeter_rules.identity import packed_key
from fleetmeter_rules.instant import from_micros
from fleetmeter_rules.ownership import owner_at
from fleetmeter_rules.time_evidence import NOT_RECORDED, pack
from fleetmeter_wire.message import Decoded, Item
from fleetmeter_workers.consumer.knowledge import ClassTerms, Knowledge
from fleetmeter_workers.consumer.record import Message
from fleetmeter_workers.ledger.contract_book import Match, PeriodTerms
from fleetmeter_workers.ledger.registry import Device

_NO_METHOD: Final = -1
_ENVELOPE: Final = "json"


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One item on its way into the ledger: who, what, when, and where it belongs if it is new.

    `reason` and `detail` say why it is set aside whatever its period's phase is; None where nothing speaks
    against billing it. `match` is the contract and period of T, `at_receipt` those of R for a contract that
    defers. `register` is what a reading names, empty for an amount; `evidence` a number of
    rules/time_evidence.
    """

    message: Message
    item: int
    key: bytes
    canonical: bytes | None
    fingerprint: bytes
    device_id: int
    metric_id: int | None
    quantity: Decimal
    received_at: datetime
    event_at: datetime | None
    uncertainty: int
    time_method: int
    customer: str | None
    match: Match | None
    at_receipt: Match | None
    reason: str | None = None
    detail: str = ""
    register: str = ""
    evidence: int = NOT_RECORDED


class _Reading(msgspec.Struct, frozen=True, gc=False):
    """What holds for all items of a message."""

    message: Message
    device: Device
    received_at: datetime
    resolved: Resolved | Ambiguous
    customer: str | None
    match: Match | None
    refusal: tuple[str, str] | None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What a batch comes to before the ledger is asked: its messages, and the candidates in their order."""

    messages: Sequence[Message]
    candidates: Sequence[Candidate]

    @property
    def periods(self) -> set[PeriodTerms]:
        """The contract periods that the batch may write to."""
        # The book hands out one object a period, so that telling them apart by it saves a hash an event.
        matches = {id(match): match for c in self.candidates for match in (c.match, c.at_receipt) if match}
        return {match.period for match in matches.values()}

    @property
    def backfills(self) -> set[str]:
        """The backfills that the batch's messages name."""
        return {m.headers.backfill for m in self.messages if m.headers is not None and m.headers.backfill}


def uids(messages: Iterable[Message]) -> set[str]:
    """The devices that the messages name."""
    return {message.outcome.device for message in messages if isinstance(message.outcome, Decoded)}


def draw(messages: Sequence[Message], known: Knowledge) -> Plan:
    """The plan of these messages. Every device that they name must be in `known.devices`."""
    candidates = [
        candidate
        for message in messages
        if isinstance(message.outcome, Decoded)
        for candidate in _candidates(message, message.outcome, known)
    ]
    return Plan(messages, candidates)


def _candidates(message: Message, decoded: Decoded, known: Knowledge) -> list[Candidate]:
    reading = _reading(message, decoded, known)
    return [
        _candidate(reading, index, item, known)
        for index, item in enumerate(decoded.items)
        if _counts(message, item, known)
    ]


def _reading(message: Message, decoded: Decoded, known: Knowledge) -> _Reading:
    device = known.devices[decoded.device]
    terms = known.class_terms(device.device_class)
    received_at, refusal = _received(message, known)
    resolved = _event_time(message, decoded, received_at, terms)
    at = received_at if isinstance(resolved, Ambiguous) else resolved.at
    customer = owner_at(device.bindings, at)
    if refusal is not None or customer is None or isinstance(resolved, Ambiguous):
        match = None
    else:
        match = known.contracts.match(customer, at, received_at)
    if refusal is None:
        refusal = _objection(decoded, device, terms, resolved, customer, match)
    return _Reading(message, device, received_at, resolved, customer, match, refusal)


def _counts(message: Message, item: Item, known: Knowledge) -> bool:
    """A platform's adapter gives every quantity that a frame has; only declared metrics count. What a device
    says itself, in an envelope, is never dropped."""
    return item.metric in known.metrics or (
        message.headers is not None and message.headers.adapter == _ENVELOPE
    )


def _received(message: Message, known: Knowledge) -> tuple[datetime, tuple[str, str] | None]:
    """R, and why the message cannot be history if it says it is."""
    headers, log_time = message.headers, message.record.log_time
    if headers is None or headers.backfill is None:
        return log_time, None
    stated_at = message.stated_at
    backfill = known.backfills.get(headers.backfill)
    if backfill is None or not backfill.accepts(message.record.partition, message.record.offset):
        return log_time, ("backfill_closed", "no backfill of this id is open; ask for it in spec.backfill")
    if stated_at is None or not backfill.range_from <= stated_at < backfill.range_to:
        return log_time, ("backfill_range", "the stated time of receipt lies outside the backfill's range")
    return stated_at, None


def _event_time(
    message: Message, decoded: Decoded, received_at: datetime, terms: ClassTerms
) -> Resolved | Ambiguous:
    """T. In a backfill the gateway's clock says nothing about the device's."""
    headers = message.headers
    gateway_at = None
    if headers is not None and headers.backfill is None:
        gateway_at = from_micros(headers.received)
    return resolve_event_time(decoded.time, received_at, terms.time, gateway_at)


def _objection(
    decoded: Decoded,
    device: Device,
    terms: ClassTerms,
    resolved: Resolved | Ambiguous,
    customer: str | None,
    match: Match | None,
) -> tuple[str, str] | None:
    """Why the message cannot be billed, as a reason code and a sentence."""
    if not device.registered:
        return "unknown_device", "the device is not registered; register it, then resolve what was set aside"
    if decoded.method not in terms.identity_methods:
        return (
            "identity_not_allowed",
            f"the device's class does not accept {decoded.method} as an identity",
        )
    if isinstance(resolved, Ambiguous):
        return resolved.reason, resolved.detail
    if customer is None:
        return "no_contract", "the device belonged to no customer at the time of the event"
    if match is None:
        return (
            "no_contract",
            "at the time of the event the owner had no contract, or the region did not bill yet",
        )
    return None


def _candidate(reading: _Reading, index: int, item: Item, known: Knowledge) -> Candidate:
    metric_id, refusal, resolved = known.metrics.get(item.metric), reading.refusal, reading.resolved
    if refusal is None and metric_id is None:
        refusal = ("metric_unknown", "the region does not declare the metric; add it to spec.metrics")
    packed = packed_key(reading.device.device_id, item.identity)
    found = isinstance(resolved, Resolved)
    # The first without their names: with all nineteen Python would build a dictionary for every call.
    return Candidate(
        reading.message,
        index,
        packed.key,
        packed.canonical,
        item.fingerprint,
        reading.device.device_id,
        metric_id,
        item.quantity,
        received_at=reading.received_at,
        event_at=resolved.at if found else None,
        uncertainty=_whole_seconds(resolved.uncertainty) if found else 0,
        time_method=resolved.method if found else _NO_METHOD,
        customer=reading.customer,
        match=reading.match,
        at_receipt=_at_receipt(reading, known),
        reason=None if refusal is None else refusal[0],
        detail="" if refusal is None else refusal[1],
        register=_register(item, known) if item.register else "",
        evidence=pack(resolved) if found else NOT_RECORDED,
    )


def _whole_seconds(span: timedelta) -> int:
    """Rounded up."""
    return span.days * 86_400 + span.seconds + (span.microseconds > 0)


def _register(item: Item, known: Knowledge) -> str:
    """The register that was read; amounts add up, whichever it was."""
    read = any(m.code == item.metric and m.kind != "Delta" for m in known.region.spec.metrics)
    return item.register if read else ""


def _at_receipt(reading: _Reading, known: Knowledge) -> Match | None:
    """The contract and period of R, where the contract defers what is late."""
    match, customer = reading.match, reading.customer
    if customer is None or match is None or match.terms.late_usage != "Defer":
        return None
    return known.contracts.match(customer, reading.received_at, reading.received_at)
