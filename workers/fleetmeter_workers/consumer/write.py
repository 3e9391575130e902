"""The commit of a batch: rows, sums, counters and next offsets in one transaction, fenced."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import psycopg

from fleetmeter_rules.conservation import Counters
from fleetmeter_workers.consumer.inlet import Inlet
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.plan import Plan
from fleetmeter_workers.consumer.record import Record
from fleetmeter_workers.consumer.settle import Settled, compare, firsts, judge
from fleetmeter_workers.consumer.tally import Tally, count
from fleetmeter_workers.ledger import (
    backfills,
    boundaries,
    events,
    late_usage,
    offsets,
    periods,
    quarantine,
    readings,
    reopenings,
    usage,
)
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import ContractPeriod


class FencedError(Exception):
    """Another consumer has moved a partition: read the offsets again, and drop the batch."""


class StaleError(Exception):
    """A backfill was decided after the plan was drawn: read it again, and draw a new plan."""


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic that the offsets belong to: a topic made anew under the same name is another one."""

    name: str
    topic_id: UUID


@dataclass(frozen=True, slots=True)
class Written:
    """A committed batch: what was counted, and how many identities were new."""

    tally: Tally
    settled: Sequence[Settled]

    @property
    def counters(self) -> Counters:
        """The counters of all partitions together."""
        total = Counters()
        for counters in self.tally.counters.values():
            total += counters
        return total


class Writer:
    """Writes batches over one connection. It keeps the period rows it has seen: only phases change.

    `alone`: no other consumer is meant to write, so rows above the high water are copied in. That another one
    does write is noticed, and costs speed only.
    """

    def __init__(self, connection: Connection, topic: Topic, *, alone: bool = True) -> None:
        """A writer belongs to one connection; make a new one for a new connection."""
        self._connection = connection
        self._topic = topic
        self._alone = alone
        self._periods: dict[tuple[str, datetime], ContractPeriod] = {}
        self._inlet = Inlet(connection)

    def write(self, plan: Plan, known: Knowledge) -> Written:
        """Commit the plan's batch, all or nothing. Raises FencedError, StaleError or a psycopg error."""
        if self._alone:
            # Only a writer that takes no part in the lock can be met here; the merge takes what it added.
            with suppress(psycopg.errors.UniqueViolation):
                return self._write(plan, known, alone=True)
        return self._write(plan, known, alone=False)

    def _write(self, plan: Plan, known: Knowledge, *, alone: bool) -> Written:
        records = [message.record for message in plan.messages]
        with self._connection.transaction():
            starts = self._lock_offsets(records)
            self._check_backfills(plan, known)
            rows = self._hold_periods(plan, known)
            verdicts = [judge(candidate, rows) for candidate in plan.candidates]
            added = self._inlet.add(firsts(verdicts), alone=alone)
            self._add_registers(plan, added)
            copies = {c.key for c in plan.candidates if c.key not in added}
            first_copies = events.known(self._connection, copies) if copies else {}
            settled = compare(verdicts, added, first_copies, known.customers)
            tally = count(plan, settled, starts, self._topic.topic_id)
            self._add(tally)
            self._advance(records, starts, tally)
        self._inlet.committed((self._topic.name, partition) for partition in starts)
        self._periods |= rows
        return Written(tally, settled)

    def _add_registers(self, plan: Plan, added: set[bytes]) -> None:
        """Keep the register of each new reading that names one: of a batch's own copies the first's."""
        if not any(candidate.register for candidate in plan.candidates):
            return
        first = {c.key: c.register for c in reversed(plan.candidates) if c.key in added}
        readings.add_registers(
            self._connection, {key: register for key, register in first.items() if register}
        )

    def _lock_offsets(self, records: Sequence[Record]) -> dict[int, PartitionOffset]:
        first: dict[int, int] = {}
        for record in records:
            first.setdefault(record.partition, record.offset)
        starts: dict[int, PartitionOffset] = {}
        for partition, offset in sorted(first.items()):
            stored = offsets.lock_at(self._connection, self._topic.name, partition, offset)
            if stored is None:
                raise FencedError(f"partition {partition} no longer stands at offset {offset}")
            starts[partition] = stored
        return starts

    def _check_backfills(self, plan: Plan, known: Knowledge) -> None:
        named = sorted(plan.backfills)
        if not named:
            return
        now = backfills.lock_backfills(self._connection, named)
        if any(now.get(name) != known.backfills.get(name) for name in named):
            raise StaleError("a backfill was decided meanwhile")

    def _hold_periods(self, plan: Plan, known: Knowledge) -> dict[tuple[str, datetime], ContractPeriod]:
        """The plan's period rows, made where missing, with phases that hold until the commit."""
        wanted = {terms.key: terms for terms in plan.periods}
        rows = {key: self._periods[key] for key in wanted if key in self._periods}
        missing = [terms for key, terms in wanted.items() if key not in rows]
        if missing:
            periods.ensure(self._connection, missing, known.customers)
            rows |= periods.find(self._connection, (terms.key for terms in missing))
        if not rows:
            return {}
        held = periods.hold(self._connection, (row.period_id for row in rows.values()))
        return {
            key: replace(row, phase=held[row.period_id][0], revision=held[row.period_id][1])
            for key, row in rows.items()
        }

    def _add(self, tally: Tally) -> None:
        if tally.hours:
            usage.add_hours(self._connection, tally.hours)
        if tally.duplicates:
            usage.add_duplicates(self._connection, tally.duplicates)
        if tally.periods:
            periods.add_counts(self._connection, tally.periods)
        if tally.quarantine:
            quarantine.add(self._connection, tally.quarantine)
        if tally.late_usage:
            late_usage.add(self._connection, tally.late_usage)
        if tally.reopenings:
            reopenings.add(self._connection, tally.reopenings)
        if tally.boundaries:
            boundaries.add(self._connection, tally.boundaries)

    def _advance(self, records: Sequence[Record], starts: dict[int, PartitionOffset], tally: Tally) -> None:
        last = {record.partition: record for record in records}
        for partition, record in sorted(last.items()):
            moved = offsets.advance(
                self._connection,
                self._topic.name,
                starts[partition],
                record.offset + 1,
                record.leader_epoch,
                record.log_time,
                tally.counters[partition],
            )
            if not moved:
                raise FencedError(f"partition {partition} moved during the batch")
