"""The tally of a settled batch: roll-ups, counters and quarantine rows for its transaction; pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeAlias
from uuid import UUID

from fleetmeter_rules.boundary import certain
from fleetmeter_rules.conservation import Counters
from fleetmeter_rules.instant import EPOCH
from fleetmeter_wire.message import Decoded, Refusal
from fleetmeter_workers.consumer.plan import Plan
from fleetmeter_workers.consumer.record import Message, Record
from fleetmeter_workers.consumer.settle import Fate, Settled
from fleetmeter_workers.ledger.late_usage import LateRow
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import PeriodCount
from fleetmeter_workers.ledger.quarantine import WHOLE_RECORD, QuarantineRow
from fleetmeter_workers.ledger.usage import HourKey, HourSum

_NOTHING: Final = HourSum(0, 0, Decimal(0))
_COLUMN: Final = {Fate.BILLED: "events", Fate.DUPLICATE: "duplicates", Fate.QUARANTINED: "quarantined"}
_Certainty: TypeAlias = dict[tuple[int, int], tuple[datetime, datetime]]
"""By match and uncertainty in seconds: where in the period an event is in no doubt."""


@dataclass(slots=True)
class Tally:
    """What the transaction adds. `counters` are by partition; a record that is read again counts in none.

    `boundaries`: the period id and the key of each billed event that may have happened in a neighbouring
    period.
    """

    hours: dict[HourKey, HourSum] = field(default_factory=dict[HourKey, HourSum])
    duplicates: Counter[tuple[int, datetime]] = field(default_factory=Counter[tuple[int, datetime]])
    periods: dict[int, PeriodCount] = field(default_factory=dict[int, PeriodCount])
    counters: dict[int, Counters] = field(default_factory=dict[int, Counters])
    quarantine: list[QuarantineRow] = field(default_factory=list[QuarantineRow])
    boundaries: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    reasons: Counter[str] = field(default_factory=Counter[str])
    late_usage: list[LateRow] = field(default_factory=list[LateRow])
    reopenings: dict[tuple[int, int], datetime] = field(default_factory=dict[tuple[int, int], datetime])


def count(
    plan: Plan, settled: Sequence[Settled], starts: Mapping[int, PartitionOffset], topic_id: UUID
) -> Tally:
    """The tally of a batch that begins at `starts`."""
    tally = Tally()
    fates: dict[int, Counter[str]] = {partition: Counter() for partition in starts}
    periods: dict[int, Counter[str]] = defaultdict(Counter)
    kept: set[tuple[int, int]] = set()
    certainty: _Certainty = {}
    for one in settled:
        record = one.verdict.candidate.message.record
        if one.fate is Fate.BILLED:
            _add_usage(tally, one)
            if one.verdict.revision != 1:
                _add_late(tally, one)
            if _in_doubt(one, certainty):
                _add_boundary(tally, one, periods)
        elif one.fate is Fate.QUARANTINED:
            place = (record.partition, record.offset)
            tally.quarantine.append(_set_aside(one, topic_id, whole=place not in kept))
            kept.add(place)
        if record.offset >= starts[record.partition].counted_offset:
            fates[record.partition][one.fate.value] += 1
            _add_count(tally, one, periods)
    for message in plan.messages:
        _add_record(tally, message, starts, fates, topic_id)
    tally.counters = {partition: _counters(seen) for partition, seen in fates.items()}
    tally.periods = {period_id: PeriodCount(**seen) for period_id, seen in periods.items()}
    return tally


def _counters(seen: Counter[str]) -> Counters:
    """Items were billed, duplicates or set aside; records were decoded, not billable or refused."""
    return Counters(
        records=seen["decoded"] + seen["not_billable"] + seen["undecodable"],
        decoded=seen["decoded"],
        not_billable=seen["not_billable"],
        undecodable=seen["undecodable"],
        items=seen["billed"] + seen["duplicate"] + seen["quarantined"],
        billed=seen["billed"],
        duplicate=seen["duplicate"],
        quarantined=seen["quarantined"],
    )


def _add_record(
    tally: Tally,
    message: Message,
    starts: Mapping[int, PartitionOffset],
    fates: dict[int, Counter[str]],
    topic_id: UUID,
) -> None:
    record, outcome = message.record, message.outcome
    counted = record.offset >= starts[record.partition].counted_offset
    if isinstance(outcome, Refusal):
        tally.quarantine.append(_row(message, topic_id, outcome.reason, outcome.detail, WHOLE_RECORD))
        if counted:
            tally.reasons[outcome.reason] += 1
            fates[record.partition]["undecodable"] += 1
    elif counted:
        fates[record.partition]["decoded" if isinstance(outcome, Decoded) else "not_billable"] += 1


def _add_usage(tally: Tally, one: Settled) -> None:
    candidate = one.verdict.candidate
    if candidate.event_at is None or candidate.metric_id is None or one.period_id is None:
        raise AssertionError("a billed event has a time, a metric and a period")
    key = (one.period_id, candidate.metric_id, _hour(candidate.event_at))
    events, late, quantity = tally.hours.get(key, _NOTHING)
    tally.hours[key] = HourSum(events + 1, late + one.verdict.late, quantity + candidate.quantity)


def _add_late(tally: Tally, one: Settled) -> None:
    """What a late event is besides its row: an entry of the period that it belongs to, or a date of an
    amendment."""
    verdict, candidate = one.verdict, one.verdict.candidate
    if one.period_id is None or candidate.event_at is None or candidate.metric_id is None:
        return
    if verdict.due_at is not None:
        tally.reopenings.setdefault((one.period_id, verdict.revision), verdict.due_at)
    if verdict.belongs_to is not None:
        tally.late_usage.append(
            LateRow(
                key=candidate.key,
                canonical=candidate.canonical or b"",
                device_id=candidate.device_id,
                metric_id=candidate.metric_id,
                quantity=candidate.quantity,
                event_at=candidate.event_at,
                received_at=candidate.received_at,
                period_id=verdict.belongs_to,
                booked_period_id=one.period_id,
            )
        )


def _in_doubt(one: Settled, certainty: _Certainty) -> bool:
    """Whether the event is billed by the first invoice of the period that holds its time, and may have
    happened outside it."""
    candidate = one.verdict.candidate
    at, match = candidate.event_at, candidate.match
    if at is None or match is None or one.verdict.revision != 1:
        return False
    # The book hands out one object a period, so that a batch asks this once a period and uncertainty.
    key = (id(match), candidate.uncertainty)
    if key not in certainty:
        certainty[key] = certain(timedelta(seconds=candidate.uncertainty), match.period.bounds)
    since, until = certainty[key]
    return not since <= at < until


def _add_boundary(tally: Tally, one: Settled, periods: dict[int, Counter[str]]) -> None:
    if one.period_id is None:
        raise AssertionError("a billed event has a period")
    tally.boundaries.append((one.period_id, one.verdict.candidate.key))
    periods[one.period_id]["boundary"] += 1


def _add_count(tally: Tally, one: Settled, periods: dict[int, Counter[str]]) -> None:
    if one.reason is not None:
        tally.reasons[one.reason] += 1
    if one.fate is Fate.DUPLICATE and one.customer_id is not None:
        tally.duplicates[one.customer_id, _hour(one.verdict.candidate.received_at)] += 1
    if one.period_id is None:
        return
    seen = periods[one.period_id]
    seen[_COLUMN[one.fate]] += 1
    if one.verdict.late and one.fate is not Fate.DUPLICATE:
        seen["late"] += 1


def _hour(instant: datetime) -> datetime:
    """The hour that the instant lies in, in UTC."""
    since = instant - EPOCH
    return _hour_at(since.days * 24 + since.seconds // 3600)


@lru_cache(maxsize=4096)
def _hour_at(hours: int) -> datetime:
    return EPOCH + timedelta(hours=hours)


def _set_aside(one: Settled, topic_id: UUID, *, whole: bool) -> QuarantineRow:
    candidate = one.verdict.candidate
    row = _row(candidate.message, topic_id, one.reason or "", one.detail, candidate.item)
    return replace(
        row,
        raw=row.raw if whole else None,
        received_at=candidate.received_at,
        event_key=candidate.key,
        first_fingerprint=one.first_fingerprint,
        customer_id=one.customer_id,
        device_id=candidate.device_id,
        period_id=one.period_id,
        late=one.verdict.late,
        resolution=one.verdict.resolution if one.reason == one.verdict.reason else None,
    )


def _row(message: Message, topic_id: UUID, reason: str, detail: str, item: int) -> QuarantineRow:
    record = message.record
    return QuarantineRow(
        topic_id=topic_id,
        partition=record.partition,
        record_offset=record.offset,
        item=item,
        received_at=message.stated_at or record.log_time,
        reason=reason,
        detail=_storable(detail),
        adapter=_storable(message.headers.adapter if message.headers else ""),
        topic=_storable(message.headers.topic if message.headers else ""),
        headers=_headers(record),
        raw=record.value,
    )


def _headers(record: Record) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in record.headers:
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""
        found[_storable(name)] = _storable(text)
    return found


def _storable(text: str) -> str:
    """Postgres keeps no NUL and no lone surrogate in a text."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
