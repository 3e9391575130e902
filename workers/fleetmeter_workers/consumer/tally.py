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
from fleetmeter_wire.message import Decoded, NotBillable, Refusal
from fleetmeter_workers.consumer.plan import Candidate, Plan
from fleetmeter_workers.consumer.record import Message, Record
from fleetmeter_workers.consumer.settle import Fate, Settled, Verdict
from fleetmeter_workers.ledger.late_usage import LateRow
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import PeriodCount
from fleetmeter_workers.ledger.quarantine import WHOLE_RECORD, QuarantineRow
from fleetmeter_workers.ledger.usage import HourKey, HourSum

_COLUMN: Final = {Fate.BILLED: "events", Fate.DUPLICATE: "duplicates", Fate.QUARANTINED: "quarantined"}
_COUNTER: Final = {Decoded: "decoded", NotBillable: "not_billable", Refusal: "undecodable"}
_Certainty: TypeAlias = dict[tuple[int, int], tuple[datetime, datetime]]
"""By match and uncertainty in seconds: where in the period an event is in no doubt."""
_Kind: TypeAlias = tuple[int, Fate, int | None, bool]
"""What many items have in common: their partition, fate and period, and whether they are late."""
_Seen: TypeAlias = dict[tuple[int, str], int]
"""How many records or items of a partition came to what, by the names of the counters."""
_Usage: TypeAlias = tuple[int, int, int]
"""Period id, metric id and hour since 1970 of what was billed."""


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
    billed: dict[_Usage, list[Verdict]] = defaultdict(list)
    kinds: dict[_Kind, int] = defaultdict(int)
    seen: _Seen = defaultdict(int)
    periods: dict[int, Counter[str]] = defaultdict(Counter)
    kept: set[tuple[int, int]] = set()
    certainty: _Certainty = {}
    for one in settled:
        verdict, fate = one.verdict, one.fate
        record = verdict.candidate.message.record
        counted = record.offset >= starts[record.partition].counted_offset
        if counted:
            kinds[record.partition, fate, one.period_id, verdict.late] += 1
        if fate is Fate.BILLED:
            billed[_usage(one)].append(verdict)
            if verdict.revision != 1:
                _add_late(tally, one)
            elif _in_doubt(verdict.candidate, certainty):
                _add_boundary(tally, one, periods)
            continue
        if counted:
            _add_reason(tally, one)
        if fate is Fate.QUARANTINED:
            place = (record.partition, record.offset)
            tally.quarantine.append(_set_aside(one, topic_id, whole=place not in kept))
            kept.add(place)
    for message in plan.messages:
        _add_record(tally, message, starts[message.record.partition], seen, topic_id)
    _add_kinds(kinds, seen, periods)
    tally.hours = {
        (period_id, metric_id, _begin(hour)): _sum(verdicts)
        for (period_id, metric_id, hour), verdicts in billed.items()
    }
    tally.counters = {partition: _counters(partition, seen) for partition in starts}
    tally.periods = {period_id: PeriodCount(**counts) for period_id, counts in periods.items()}
    return tally


def _counters(partition: int, seen: _Seen) -> Counters:
    """Items were billed, duplicates or set aside; records were decoded, not billable or refused."""
    decoded, not_billable, undecodable = (seen[partition, name] for name in _COUNTER.values())
    billed, duplicate, quarantined = (seen[partition, fate] for fate in Fate)
    return Counters(
        records=decoded + not_billable + undecodable,
        decoded=decoded,
        not_billable=not_billable,
        undecodable=undecodable,
        items=billed + duplicate + quarantined,
        billed=billed,
        duplicate=duplicate,
        quarantined=quarantined,
    )


def _add_record(tally: Tally, message: Message, start: PartitionOffset, seen: _Seen, topic_id: UUID) -> None:
    record, outcome = message.record, message.outcome
    counted = record.offset >= start.counted_offset
    if counted:
        seen[record.partition, _COUNTER[type(outcome)]] += 1
    if isinstance(outcome, Refusal):
        tally.quarantine.append(_row(message, topic_id, outcome.reason, outcome.detail, WHOLE_RECORD))
        if counted:
            tally.reasons[outcome.reason] += 1


def _usage(one: Settled) -> _Usage:
    candidate = one.verdict.candidate
    if candidate.event_at is None or candidate.metric_id is None or one.period_id is None:
        raise AssertionError("a billed event has a time, a metric and a period")
    return one.period_id, candidate.metric_id, _hour(candidate.event_at)


def _sum(verdicts: Sequence[Verdict]) -> HourSum:
    late = [verdict.late for verdict in verdicts].count(True)
    return HourSum(len(verdicts), late, sum([verdict.candidate.quantity for verdict in verdicts], Decimal(0)))


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


def _in_doubt(candidate: Candidate, certainty: _Certainty) -> bool:
    """Whether an event that is billed in the period of its time may have happened outside it."""
    at, match = candidate.event_at, candidate.match
    if at is None or match is None:
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


def _add_reason(tally: Tally, one: Settled) -> None:
    if one.reason is not None:
        tally.reasons[one.reason] += 1
    if one.fate is Fate.DUPLICATE and one.customer_id is not None:
        tally.duplicates[one.customer_id, _begin(_hour(one.verdict.candidate.received_at))] += 1


def _add_kinds(kinds: dict[_Kind, int], seen: _Seen, periods: dict[int, Counter[str]]) -> None:
    for (partition, fate, period_id, late), number in kinds.items():
        seen[partition, fate] += number
        if period_id is not None:
            periods[period_id][_COLUMN[fate]] += number
            if late and fate is not Fate.DUPLICATE:
                periods[period_id]["late"] += number


def _hour(instant: datetime) -> int:
    """The hour that the instant lies in, counted from 1970, UTC."""
    since = instant - EPOCH
    return since.days * 24 + since.seconds // 3600


@lru_cache(maxsize=4096)
def _begin(hour: int) -> datetime:
    return EPOCH + timedelta(hours=hour)


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
