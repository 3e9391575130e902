"""Readiness: whether a contract period can be sealed, by the ledger's clock and offsets and Kafka's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleetmeter_api.region import Region
from fleetmeter_rules.seal import BackfillHold, PartitionProgress, Readiness, awaits_an_older, sealable
from fleetmeter_workers.ledger import backfills, completeness, doubts, offsets
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.queue import Queue


@dataclass(frozen=True, slots=True)
class Progress:
    """How far everything was: the ledger's clock first, then Kafka's ends, then the ledger's offsets."""

    now: datetime
    ends: Mapping[int, int]
    stored: Mapping[int, PartitionOffset]
    holds: tuple[BackfillHold, ...]


def look(connection: Connection, queue: Queue, region: Region) -> Progress:
    """The progress of the region. Raises QueueAwayError.

    The order matters: an end read after the clock holds every record received before it.
    """
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise LookupError("Postgres told no time")
    ends = queue.ends()
    return Progress(row[0], ends, offsets.read_offsets(connection, queue.topic), _holds(connection, region))


def judge(progress: Progress, queue: Queue, start: datetime, end: datetime, cut_off: datetime) -> Readiness:
    """Whether the contract period start <= t < end can be sealed. Raises QueueAwayError."""
    required = queue.required(cut_off, dict(progress.ends)) if progress.now >= cut_off else {}
    partitions = [
        PartitionProgress(
            partition,
            progress.stored[partition].next_offset if partition in progress.stored else 0,
            required.get(partition),
        )
        for partition in sorted({*progress.ends, *progress.stored})
    ]
    found = sealable(start, end, cut_off, progress.now, partitions)
    for hold in progress.holds:
        if found.sealable:
            found = sealable(start, end, cut_off, progress.now, partitions, hold)
    return found


def awaited(connection: Connection, contracts: ContractBook, period: ContractPeriod) -> Readiness:
    """Whether the contract period, complete by the queue, still waits for usage that its devices counted, or
    for a person to look at it."""
    version = contracts.version(period.contract, period.cutoff_at)
    # The region API looks as well, again and again; here it must be sure only where the seal depends on it.
    if version.contract.incomplete_usage == "Hold" or not completeness.was_looked_at(connection, period):
        terms = contracts.terms(period.contract, period.cutoff_at)
        completeness.look(connection, period, completeness.window_of(terms, period))
    own = doubts.of_period(connection, period.period_id).awaits([version])
    if not own.sealable:
        return own
    for earlier in doubts.earlier(connection, period.contract, period.starts_at):
        if not earlier.awaits([contracts.version(period.contract, earlier.cutoff_at)]).sealable:
            return awaits_an_older(earlier.billing_period)
    return own


def _holds(connection: Connection, region: Region) -> tuple[BackfillHold, ...]:
    """Every backfill of the ledger, and the one that the region asks for if the ledger has not heard of
    it."""
    known = backfills.all_backfills(connection)
    holds = [
        BackfillHold(
            each.range_from,
            each.range_to,
            each.state != "pending",
            tuple(sorted((each.end_offsets or {}).items())),
        )
        for each in known.values()
    ]
    asked = region.spec.backfill
    if asked is not None and asked.backfill_id not in known:
        holds.append(BackfillHold(asked.from_, asked.to, completed=False))
    return tuple(holds)
