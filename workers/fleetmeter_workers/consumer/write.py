"""The commit of a batch: rows, sums, counters and next offsets in one transaction, fenced."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from fleetmeter_rules.conservation import Counters
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.plan import Plan
from fleetmeter_workers.consumer.record import Record
from fleetmeter_workers.consumer.settle import Settled, compare, firsts, judge
from fleetmeter_workers.consumer.tally import Tally, count
from fleetmeter_workers.ledger import backfills, events, offsets, periods, quarantine, usage
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
    """Writes batches over one connection. It keeps the period rows it has seen: only phases change."""

    def __init__(self, connection: Connection, topic: Topic) -> None:
        """A writer belongs to one connection; make a new one for a new connection."""
        self._connection = connection
        self._topic = topic
        self._periods: dict[tuple[str, datetime], ContractPeriod] = {}

    def write(self, plan: Plan, known: Knowledge) -> Written:
        """Commit the plan's batch, all or nothing. Raises FencedError, StaleError or a psycopg error."""
        records = [message.record for message in plan.messages]
        with self._connection.transaction():
            starts = self._lock_offsets(records)
            self._check_backfills(plan, known)
            rows = self._hold_periods(plan, known)
            verdicts = [judge(candidate, rows) for candidate in plan.candidates]
            added = events.merge(self._connection, firsts(verdicts))
            copies = {c.key for c in plan.candidates if c.key not in added}
            first_copies = events.known(self._connection, copies) if copies else {}
            settled = compare(verdicts, added, first_copies, known.customers)
            tally = count(plan, settled, starts, self._topic.topic_id)
            self._add(tally)
            self._advance(records, starts, tally)
        self._periods |= rows
        return Written(tally, settled)

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
        phases = periods.hold(self._connection, (row.period_id for row in rows.values()))
        return {key: replace(row, phase=phases[row.period_id]) for key, row in rows.items()}

    def _add(self, tally: Tally) -> None:
        if tally.hours:
            usage.add_hours(self._connection, tally.hours)
        if tally.duplicates:
            usage.add_duplicates(self._connection, tally.duplicates)
        if tally.periods:
            periods.add_counts(self._connection, tally.periods)
        if tally.quarantine:
            quarantine.add(self._connection, tally.quarantine)

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
