"""The consumer's own steps in memory, without an engine: `python -m tests.bench.consumer_steps` prints what
an event costs in each."""

import argparse
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import TypeVar

from tests.bench.ledger import BATCH, REGION, contract_of
from tests.bench.report import Row, show
from tests.bench.workload import Fleet, batches, records

from fleetmeter_api.region import Region
from fleetmeter_rules.conservation import Counters
from fleetmeter_rules.contracts import Version
from fleetmeter_rules.ownership import Binding
from fleetmeter_workers.consumer.high_water import HighWater
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.main import spare_the_collector
from fleetmeter_workers.consumer.plan import Plan, draw
from fleetmeter_workers.consumer.record import Record, read
from fleetmeter_workers.consumer.settle import compare, firsts, judge
from fleetmeter_workers.consumer.tally import count
from fleetmeter_workers.ledger import event_copy
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.events import EventRow
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.registry import Device

_EVER = datetime.min.replace(tzinfo=UTC)
_TOPIC = uuid.UUID(int=1)
_Result = TypeVar("_Result")


def knowledge(fleet: Fleet) -> Knowledge:
    """What the consumer knows of a fleet that is registered."""
    region = Region.model_validate(REGION)
    owners = fleet.owners()
    customers = sorted({customer for _, customer in owners})
    versions = {f"c-{code}": (Version(1, _EVER, contract_of(code)),) for code in customers}
    devices = {
        uid: Device(number, uid, None, "default", True, (Binding(customer, _EVER, None, 1),))
        for number, (uid, customer) in enumerate(owners, 1)
    }
    return Knowledge(
        region=region,
        change=0,
        metrics={metric.code: number for number, metric in enumerate(region.spec.metrics, 1)},
        contracts=ContractBook(region, versions),
        backfills={},
        customers={code: number for number, code in enumerate(customers, 1)},
        devices=devices,
    )


def _held(plan: Plan) -> dict[tuple[str, datetime], ContractPeriod]:
    """The plan's periods as the ledger holds them."""
    return {
        terms.key: ContractPeriod(
            number, terms.contract, terms.customer, terms.billing_period, terms.bounds.start,
            terms.bounds.end, terms.cut_off, terms.late_usage, "open", 1, None,
        )
        for number, terms in enumerate(sorted(plan.periods, key=lambda terms: terms.key), 1)
    }  # fmt: skip


class Steps:
    """Runs batches through the steps and adds up the processor time of each."""

    def __init__(self, fleet: Fleet) -> None:
        """Nothing is measured yet."""
        self._known = knowledge(fleet)
        self._high_water = HighWater()
        self.spent: dict[str, float] = {}

    def run(self, batch: Sequence[Record]) -> None:
        """One batch, as `Writer.write` takes it, on a ledger that holds none of its rows."""
        known = self._known
        messages = self._timed("read", lambda: [read(record) for record in batch])
        plan = self._timed("draw", lambda: draw(messages, known))
        periods = _held(plan)
        verdicts = self._timed("judge", lambda: [judge(each, periods) for each in plan.candidates])
        rows = self._timed("rows", lambda: firsts(verdicts))
        above = self._timed("high water", lambda: self._above(rows))
        self._timed("copy rows", lambda: b"".join(map(event_copy.encoded, above)))
        added = {row.key for row in rows}
        settled = self._timed("compare", lambda: compare(verdicts, added, {}, known.customers))
        first = batch[0]
        start = PartitionOffset(0, _TOPIC, 0, first.offset, first.offset, None, Counters())
        self._timed("tally", lambda: count(plan, settled, {0: start}, _TOPIC))

    def _above(self, rows: Sequence[EventRow]) -> Sequence[EventRow]:
        """The rows in the order of COPY, once the marks are known."""
        unknown = self._high_water.unknown(rows)
        self._high_water.learn({prefix: prefix + bytes(8) for prefix in unknown})
        above, _ = self._high_water.split(rows)
        self._high_water.rise(rows)
        return sorted(above, key=lambda row: row.key)

    def _timed(self, step: str, work: Callable[[], _Result]) -> _Result:
        began = time.thread_time()
        result = work()
        self.spent[step] = self.spent.get(step, 0.0) + time.thread_time() - began
        return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.consumer_steps", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    options = parser.parse_args()
    spare_the_collector()
    fleet = Fleet(copies=0)
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        first = number * options.events
        steps = Steps(fleet)
        for batch in batches(records(fleet.messages(options.events, first, number), first=first), BATCH):
            steps.run(batch)
        rounds.append(steps.spent)
    figures = {step: median(each[step] for each in rounds) / options.events * 1e6 for step in rounds[0]}
    figures["together"] = sum(figures.values())
    rows = [Row(step, figure, f"{figure:.2f}") for step, figure in figures.items()]
    show("Processor µs an event in the consumer's own steps", rows)


if __name__ == "__main__":
    main()
