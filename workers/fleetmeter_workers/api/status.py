"""The region's status: numbers, phases and plan names for the operator; nothing about a customer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from starlette.responses import Response

from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import Bounds, billing_periods, calendar_of, cut_off, period_name
from fleetmeter_rules.instant import rfc3339
from fleetmeter_rules.seal import BackfillHold, PartitionProgress, Readiness, WaitingFor, sealable
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.status_numbers import Numbers, read_numbers
from fleetmeter_workers.ledger.periods import PeriodCount
from fleetmeter_workers.ledger.reopenings import Reopening
from fleetmeter_workers.queue import Queue, QueueAwayError


class Observed(msgspec.Struct, frozen=True, rename="camel"):
    """What this process runs on: the ledger's schema version, and the hash of the spec that it read."""

    schema_version: int
    spec_hash: str


class Consumer(msgspec.Struct, frozen=True, rename="camel"):
    """How far usage is decided. `lag` is null while Kafka is away; `watermark` is the oldest partition's."""

    lag: int | None
    watermark: str | None
    records: int
    billed: int
    duplicate: int
    quarantined: int


class ContractRefusal(msgspec.Struct, frozen=True, rename="camel"):
    """A contract file that was not taken."""

    position: int
    sha256: str
    reason: str


class Contracts(msgspec.Struct, frozen=True, rename="camel"):
    """How many contracts are loaded, and which files were refused."""

    loaded: int
    refused: list[ContractRefusal]


class BackfillState(msgspec.Struct, frozen=True, rename="camel"):
    """The backfill that the spec asks for."""

    id: str
    state: str


class PeriodStatus(msgspec.Struct, frozen=True, rename="camel"):
    """A billing period: its contract periods by phase, its counts, and whether it can be closed."""

    contract_periods: int
    open: int
    sealing: int
    final: int
    events: int
    late: int
    quarantined: int
    duplicates: int
    invoices: int
    boundary_candidates: int
    boundary_undecided: int
    missing: int
    silent_devices: int
    sealable: bool
    waiting_for: str
    message: str
    cut_off: str


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The whole status of a region."""

    region: str
    observed: Observed
    consumer: Consumer
    contracts: Contracts
    plans_in_use: list[str]
    quarantined: dict[str, int]
    backfill: BackfillState | None
    periods: dict[str, PeriodStatus]


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What decides whether a period can be closed, but for the period itself."""

    numbers: Numbers
    queue: Queue
    ends: dict[int, int] | None
    holds: Sequence[BackfillHold]


def show_status(call: Call) -> Response:
    """GET /status."""
    region = call.parts.region
    with call.parts.ledger.connection() as connection:
        numbers = read_numbers(connection, call.parts.queue.topic, region, call.parts.summaries)
    try:
        # Read after the database's clock: an end that was read later holds every record from before.
        ends = call.parts.queue.ends()
    except QueueAwayError:
        ends = None
    inputs = _Inputs(numbers, call.parts.queue, ends, _holds(region, numbers))
    return json_response(
        Status(
            region=region.name,
            observed=Observed(numbers.schema_version, region.spec.content_hash),
            consumer=_consumer(numbers, ends),
            contracts=Contracts(
                numbers.contracts_loaded,
                [ContractRefusal(each.position, each.sha256, each.reason) for each in numbers.refusals],
            ),
            plans_in_use=list(numbers.plans),
            quarantined=numbers.quarantined,
            backfill=_backfill(region, numbers),
            periods=_periods(region, inputs),
        )
    )


def _consumer(numbers: Numbers, ends: Mapping[int, int] | None) -> Consumer:
    lag = None
    if ends is not None:
        lag = sum(
            max(0, end - (numbers.offsets[partition].next_offset if partition in numbers.offsets else 0))
            for partition, end in ends.items()
        )
    marks = [each.watermark_at for each in numbers.offsets.values() if each.watermark_at is not None]
    counters = [each.counters for each in numbers.offsets.values()]
    return Consumer(
        lag=lag,
        watermark=rfc3339(min(marks)) if marks else None,
        records=sum(each.records for each in counters),
        billed=sum(each.billed for each in counters),
        duplicate=sum(each.duplicate for each in counters),
        quarantined=sum(each.quarantined for each in counters),
    )


def _backfill(region: Region, numbers: Numbers) -> BackfillState | None:
    if region.backfill_id is None:
        return None
    known = numbers.backfills.get(region.backfill_id)
    return BackfillState(region.backfill_id, known.state if known else "pending")


def _holds(region: Region, numbers: Numbers) -> list[BackfillHold]:
    """The backfill that the spec asks for, and each decided one: its records may still wait in the queue."""
    holds = [
        BackfillHold(each.range_from, each.range_to, True, tuple(sorted((each.end_offsets or {}).items())))
        for each in numbers.backfills.values()
        if each.state != "pending"
    ]
    wanted = region.spec.backfill
    if wanted is not None:
        known = numbers.backfills.get(wanted.backfill_id)
        if known is None or known.state == "pending":
            holds.append(BackfillHold(wanted.from_, wanted.to, completed=False))
    return holds


def _periods(region: Region, inputs: _Inputs) -> dict[str, PeriodStatus]:
    spec = region.spec.calendar
    grace = timedelta(seconds=region.spec.late_usage.grace_period_seconds)
    found: dict[str, PeriodStatus] = {}
    for bounds in billing_periods(calendar_of(spec), spec.first_period, spec.last_period, inputs.numbers.now):
        name = period_name(region.name, bounds, spec.interval)
        cut = max(cut_off(bounds, grace), inputs.numbers.cut_offs.get(name, bounds.end))
        found[name] = _period(name, bounds, cut, inputs)
    return found


def _period(name: str, bounds: Bounds, cut: datetime, inputs: _Inputs) -> PeriodStatus:
    summary = inputs.numbers.periods.get(name)
    count = summary.count if summary else PeriodCount()
    total = summary.open + summary.sealing + summary.final if summary else 0
    due, message = _amendments(name, inputs.numbers)
    is_final = summary is not None and summary.final == total and not due
    if summary is not None and summary.final == total and due:
        cut = due[0].due_at
    readiness = None if is_final else _readiness(bounds, cut, inputs)
    if readiness is not None and readiness.sealable:
        left = total - summary.final + len(due) if summary else 0
        readiness = _awaited(name, left, inputs)
    return PeriodStatus(
        contract_periods=total,
        open=summary.open + len(due) if summary else 0,
        sealing=summary.sealing if summary else 0,
        final=summary.final - len(due) if summary else 0,
        events=count.events,
        late=count.late,
        quarantined=count.quarantined,
        duplicates=count.duplicates,
        invoices=summary.invoices if summary else 0,
        boundary_candidates=count.boundary,
        boundary_undecided=count.boundary - count.reviewed,
        missing=summary.missing if summary else 0,
        silent_devices=summary.silent if summary else 0,
        sealable=readiness is not None and readiness.sealable,
        waiting_for=readiness.waiting_for.value if readiness else "",
        message=readiness.message if readiness else message,
        cut_off=rfc3339(cut),
    )


def _amendments(name: str, numbers: Numbers) -> tuple[list[Reopening], str]:
    """The amendments of a period's final contract periods that are due, which makes these count as open; and
    what to say while none is."""
    known = numbers.reopenings.get(name, ())
    due = [each for each in known if each.due_at <= numbers.now]
    if not known or due:
        return due, "every contract period is final"
    return [], (
        f"every contract period is final; late usage amends {len(known)} of them from "
        f"{rfc3339(known[0].due_at)} on"
    )


def _readiness(bounds: Bounds, cut: datetime, inputs: _Inputs) -> Readiness:
    numbers = inputs.numbers
    partitions: list[PartitionProgress] = []
    if numbers.now >= cut and numbers.contracts_loaded:
        required = _required(cut, inputs)
        known = {*numbers.offsets, *required}
        partitions = [
            PartitionProgress(
                partition,
                numbers.offsets[partition].next_offset if partition in numbers.offsets else 0,
                required.get(partition),
            )
            for partition in sorted(known)
        ]
    loaded = numbers.contracts_loaded > 0
    for hold in inputs.holds:
        held = sealable(bounds.start, bounds.end, cut, numbers.now, partitions, hold, loaded)
        if held.waiting_for is WaitingFor.BACKFILL:
            return held
    return sealable(bounds.start, bounds.end, cut, numbers.now, partitions, None, loaded)


def _awaited(name: str, left: int, inputs: _Inputs) -> Readiness:
    """Whether all that is left to seal of a billing period waits for a person; else the close goes on."""
    waits = inputs.numbers.held.get(name, ())
    if not waits or len(waits) < left or name in inputs.numbers.unbegun:
        return Readiness(WaitingFor.NOTHING, "")
    if len(waits) == 1:
        return waits[0]
    return Readiness(
        waits[0].waiting_for, f"{len(waits)} contract periods wait; the first: {waits[0].message}"
    )


def _required(cut: datetime, inputs: _Inputs) -> dict[int, int]:
    if inputs.ends is None:
        return {}
    try:
        return inputs.queue.required(cut, inputs.ends)
    except QueueAwayError:
        return {}
