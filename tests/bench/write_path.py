"""The write path without Kafka: the consumer's steps beside COPY and the article's loop, on one server."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import ledger
from tests.bench.article import Article
from tests.bench.ledger import Consumer, Cost
from tests.bench.limit import Copy, prepared, random_key
from tests.bench.report import Row, ratio
from tests.bench.workload import Fleet, records

from fleetmeter_local.engines import Postgres
from fleetmeter_workers.consumer.record import Record, read

_ARTICLE_SHARE = 100
_SAID = {
    "decode": "decode",
    "high_water": "plan and commit, high water",
    "merge": "plan and commit, merge",
    "random_key": "COPY random key",
    "article": "the article's loop",
}
_STORED = ("fleetmeter.event",)


@dataclass(frozen=True, slots=True)
class Size:
    """Events a round, and rounds after the first, which only warms up."""

    events: int
    rounds: int


class Rig:
    """Every variant, each with a table of its own, on one server."""

    def __init__(self, postgres: Postgres) -> None:
        """Make the databases, register the fleet and connect."""
        self.plain, self._storm = Fleet(), Fleet(copies=0.5)
        for name in ("high_water", "merge", "storm", "limits"):
            ledger.migrated(postgres, name, self.plain)
        self._consumers = {
            "high_water": Consumer(postgres, "high_water", high_water=True),
            "merge": Consumer(postgres, "merge", high_water=False),
            "storm": Consumer(postgres, "storm", high_water=True),
        }
        self._random = Copy(postgres, "limits", "random_key", "bytea")
        self._own = Copy(postgres, "limits", "own_key", "uuid")
        self._article = Article(postgres, "limits", dict(self.plain.owners()))

    def round(self, number: int, events: int) -> dict[str, Cost]:
        """Every variant once, in an order that differs from round to round."""
        first = number * events
        sent = self.plain.messages(events, first, number)
        came = records(sent, first=first)
        storm = records(self._storm.messages(events, first, number), first=first)
        rows = self._consumers["high_water"].rows([read(record) for record in came])
        at_random = prepared([random_key(row) for row in rows])
        in_order = prepared(sorted(rows, key=_key))
        variants: list[tuple[str, Callable[[], Cost]]] = [
            ("decode", lambda: _decode(came)),
            ("high_water", lambda: self._consumers["high_water"].write(came)),
            ("merge", lambda: self._consumers["merge"].write(came)),
            ("storm", lambda: self._consumers["storm"].write(storm)),
            ("random_key", lambda: self._random.write(at_random)),
            ("own_key", lambda: self._own.write(in_order)),
            ("article", lambda: self._article.write(sent[: events // _ARTICLE_SHARE])),
        ]
        random.Random(number).shuffle(variants)
        return {name: run() for name, run in variants}

    def close(self) -> None:
        """Disconnect."""
        for each in (*self._consumers.values(), self._random, self._own, self._article):
            each.close()


def measure(postgres: Postgres, size: Size) -> list[Row]:
    """Every ratio of the write path. All variants see the same messages."""
    rig = Rig(postgres)
    costs: dict[str, list[Cost]] = {}
    try:
        for number in range(size.rounds + 1):
            done = rig.round(number, size.events)
            told = ", ".join(f"{name} {cost.rate:,.0f}" for name, cost in sorted(done.items()))
            print(f"round {number}, events/s: {told}", flush=True)
            for name, cost in done.items() if number else ():
                costs.setdefault(name, []).append(cost)
    finally:
        rig.close()
    return _rows(costs, _stored(postgres, rig.plain, size))


def _decode(came: Sequence[Record]) -> Cost:
    """From a record's bytes to a message, in the consumer's chunks."""
    began, spent = time.perf_counter(), time.process_time()
    for at in range(0, len(came), ledger.BATCH):
        _ = [read(record) for record in came[at : at + ledger.BATCH]]
    return Cost(len(came), time.perf_counter() - began, time.process_time() - spent, 0, 0)


def _key(row: bytes) -> bytes:
    """Where the key lies in an encoded row: behind the column count and two instants."""
    return row[30:46]


def _stored(postgres: Postgres, fleet: Fleet, size: Size) -> tuple[float, float]:
    """Bytes an event in the ledger's table and in the article's, both filled with the same events."""
    with ledger.connect("bench", postgres.dsn("high_water")) as connection:
        count = connection.execute("SELECT count(*) FROM fleetmeter.event").fetchone()
        ours = ledger.stored_bytes(connection, *_STORED) / (count[0] if count else 1)
    filled = Article(postgres, "storm", dict(fleet.owners()))
    events = 0
    for number in range(size.rounds + 1):
        events += filled.fill(fleet.messages(size.events, number * size.events, number))
    row = filled.connection.execute(
        "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('billing_events')"
    ).fetchone()
    filled.close()
    return ours, (row[0] if row else 0) / events


def _rows(costs: dict[str, list[Cost]], stored: tuple[float, float]) -> list[Row]:
    rates = {name: [cost.rate for cost in each] for name, each in costs.items()}
    ours, theirs = stored

    def over(name: str, limit: str) -> float:
        return ratio(rates[name], rates[limit])

    def row(
        what: str, figure: float, goal: float | None = None, *, least: bool = True, digits: int = 2
    ) -> Row:
        return Row(what, figure, f"{figure:,.{digits}f}", goal, least)

    def spent(name: str) -> float:
        return median(cost.processor for cost in costs[name])

    wal = median(cost.wal / cost.events for cost in costs["high_water"])
    merged = median(cost.wal / cost.events for cost in costs["merge"])
    return [
        row("COPY, random key (limit 2), events/s", median(rates["random_key"]), digits=0),
        row("COPY, the ledger's own key, sorted, events/s", median(rates["own_key"]), digits=0),
        row("plan and commit, high water, events/s", median(rates["high_water"]), digits=0),
        row("plan and commit, merge, events/s", median(rates["merge"]), digits=0),
        row("the article's loop, events/s", median(rates["article"]), digits=0),
        *(row(f"processor µs an event, {said}", spent(name), digits=1) for name, said in _SAID.items()),
        row("plan and commit, high water ÷ COPY random key", over("high_water", "random_key"), 0.75),
        row("plan and commit, merge ÷ COPY random key", over("merge", "random_key"), 0.60),
        row("plan and commit, high water ÷ the article's loop", over("high_water", "article"), 70, digits=0),
        row("50 % copies ÷ 1 % copies, high water", over("storm", "high_water"), 0.9),
        row("WAL bytes an event, high water", wal, 300, least=False, digits=0),
        row("WAL bytes an event, merge", merged, 300, least=False, digits=0),
        row("stored bytes an event, ledger", ours, digits=0),
        row("stored bytes an event ÷ the article's schema", ours / theirs, 0.45, least=False),
    ]
