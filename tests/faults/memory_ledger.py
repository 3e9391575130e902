"""A ledger in memory with the tables' semantics: unique keys, row locks, compare-and-set, all or nothing."""

from collections.abc import Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import psycopg

from fleetmeter_rules.conservation import Counters
from fleetmeter_workers.consumer import inlet, write
from fleetmeter_workers.ledger import (
    backfills,
    event_copy,
    events,
    offsets,
    periods,
    quarantine,
    usage,
    writer_lock,
)
from fleetmeter_workers.ledger.events import BILLED, EventRow, KnownEvent
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import ContractPeriod, PeriodCount

Write = tuple[Any, ...]
Lock = tuple[str, Any, str]
"""A table, a row of it, and X or S."""


class Sum(NamedTuple):
    """A number by key; keys with the number of each, in order, so that equal sums are equal values."""

    items: tuple[tuple[Any, int], ...] = ()

    def plus(self, more: Iterable[tuple[Any, int]]) -> "Sum":
        """The sum with these added."""
        total = dict(self.items)
        for key, number in more:
            total[key] = total.get(key, 0) + number
        return Sum(tuple(sorted(total.items())))

    def total(self) -> int:
        """Everything together."""
        return sum(number for _, number in self.items)


class Event(NamedTuple):
    """What the model keeps of an event's row."""

    key: bytes
    period_id: int | None
    verdict: int
    fingerprint: bytes


class Ledger(NamedTuple):
    """What is committed. `rows` are the keyless inserts of designs that have no unique key, `writers` the
    transactions that moved each partition's offset last."""

    offsets: tuple[PartitionOffset, ...]
    periods: tuple[ContractPeriod, ...] = ()
    events: frozenset[Event] = frozenset()
    hours: Sum = Sum()
    counts: Sum = Sum()
    duplicates: Sum = Sum()
    quarantine: frozenset[tuple[int, int, int, str]] = frozenset()
    invoices: tuple[tuple[int, frozenset[bytes]], ...] = ()
    rows: tuple[int, ...] = ()
    notes: Sum = Sum()
    writers: tuple[str, ...] = ()

    def event(self, key: bytes) -> Event | None:
        """The event of that key."""
        return next((event for event in self.events if event.key == key), None)


class Transaction(NamedTuple):
    """What a transaction holds and will write."""

    locks: frozenset[Lock] = frozenset()
    writes: tuple[Write, ...] = ()
    session: int = -1

    def name(self, ledger: Ledger) -> str:
        """What tells it from every other transaction that ever moved one of its partitions."""
        places = sorted(row for table, row, _ in self.locks if table == "offset")
        return f"{self.session}:{[(p, ledger.offsets[p].next_offset) for p in places]}"


@dataclass(frozen=True)
class Outcome:
    """What a statement came to: its answer, and the transaction after it."""

    answer: Any
    transaction: Transaction


def blocked(wanted: Iterable[Lock], others: Iterable[Transaction]) -> bool:
    """Whether another open transaction holds one of these."""
    held = {(table, row): mode for other in others for table, row, mode in other.locks}
    return any((table, row) in held and "X" in (mode, held[table, row]) for table, row, mode in wanted)


def locks_of(question: tuple[Any, ...]) -> frozenset[Lock]:
    """The rows that a statement has to lock."""
    match question:
        case ("lock_at", partition, _):
            return frozenset({("offset", partition, "X")})
        case ("advance" | "move" | "set_back", partition, *_):
            return frozenset({("offset", partition, "X")})
        case ("hold", ids):
            return frozenset(("period", period_id, "S") for period_id in ids)
        case ("lock_for_seal", period_id):
            return frozenset({("period", period_id, "X")})
        case ("merge" | "copy", rows):
            return frozenset(("key", row.key, "X") for row in rows)
        case ("together",):
            return frozenset({("writers", 0, "S")})
        case _:
            return frozenset()


LOCAL = frozenset(
    {"begin", "rollback", "add_hours", "add_duplicates", "add_counts", "set_aside", "ensure", "note"}
)
"""Statements whose answer no other session can change and that change nothing for one before the commit."""


def execute(question: tuple[Any, ...], ledger: Ledger, own: Transaction) -> Outcome:
    """Run a statement of a transaction; its locks must be free."""
    view = applied(ledger, own.writes)
    locks = own.locks | locks_of(question)
    answer: Any = None
    write: Write | None = None
    match question:
        case ("lock_at", partition, offset):
            stored = view.offsets[partition]
            answer = stored if stored.next_offset == offset else None
            locks = locks if answer is not None else own.locks
        case ("read_offsets",):
            answer = view.offsets
        case ("hold", ids) | ("phases", ids):
            answer = tuple((p.period_id, (p.phase, p.revision)) for p in view.periods if p.period_id in ids)
        case ("find", keys):
            answer = tuple(p for p in view.periods if p.key in keys)
        case ("ensure", _):
            pass
        case ("lock_for_seal", period_id):
            answer = next(p for p in view.periods if p.period_id == period_id)
        case ("merge", rows):
            new = tuple(row for row in rows if view.event(row.key) is None)
            answer, write = frozenset(row.key for row in new), ("merge", new)
            locks = own.locks | locks_of(("merge", new))
        case ("copy", rows):
            answer = all(view.event(row.key) is None for row in rows)
            write = ("merge", rows) if answer else None
        case ("alone",):
            answer, locks = True, own.locks | {("writers", 0, "X")}
        case ("together",):
            pass
        case ("standing",):
            answer = (own.name(ledger), ledger.writers)
        case ("last_keys", prefixes):
            answer = tuple(_last_key(view, prefix) for prefix in prefixes)
        case ("known", keys):
            answer = tuple(event for event in view.events if event.key in keys)
        case ("advance", partition, start, *_):
            answer = view.offsets[partition].next_offset == start
            write = (*question, own.name(ledger)) if answer else None
        case ("move" | "set_back", *_):
            write = (*question, own.name(ledger))
        case ("sums", period_id):
            answer = (_billed(view, period_id), view.hours.items, view.counts.items)
        case (
            "add_hours"
            | "add_counts"
            | "add_duplicates"
            | "set_aside"
            | "note"
            | "invoice"
            | "insert"
            | "write_offset",
            *_,
        ):
            write = question
        case _:
            raise AssertionError(f"the model knows no statement {question[0]}")
    return Outcome(
        answer, own._replace(locks=locks, writes=own.writes if write is None else (*own.writes, write))
    )


def _last_key(ledger: Ledger, prefix: bytes) -> bytes:
    return max(
        (event.key for event in ledger.events if event.key.startswith(prefix)), default=prefix + bytes(8)
    )


def _billed(ledger: Ledger, period_id: int) -> frozenset[bytes]:
    return frozenset(e.key for e in ledger.events if e.period_id == period_id and e.verdict == BILLED)


def applied(ledger: Ledger, writes: Iterable[Write]) -> Ledger:
    """The ledger with these writes."""
    for each in writes:
        match each:
            case ("merge", rows):
                ledger = ledger._replace(events=ledger.events | set(rows))
            case ("add_hours", items):
                ledger = ledger._replace(hours=ledger.hours.plus(items))
            case ("add_counts", items):
                ledger = ledger._replace(counts=ledger.counts.plus(items))
            case ("add_duplicates", items):
                ledger = ledger._replace(duplicates=ledger.duplicates.plus(items))
            case ("set_aside", rows):
                places = {row[:3] for row in ledger.quarantine}
                new = {row for row in rows if row[:3] not in places}
                ledger = ledger._replace(quarantine=ledger.quarantine | new)
            case ("note", name, number):
                ledger = ledger._replace(notes=ledger.notes.plus([(name, number)]))
            case ("advance", partition, _, end, counters, writer) | (
                "move",
                partition,
                end,
                counters,
                writer,
            ):
                ledger = _advanced(ledger, partition, end, counters, writer)
            case ("set_back", partition, offset, writer):
                ledger = _advanced(ledger, partition, offset, Counters(), writer)
            case ("write_offset", end):
                ledger = _advanced(ledger, 0, end, Counters(), "")
            case ("invoice", period_id, keys):
                sealed = tuple(
                    replace(p, phase="final") if p.period_id == period_id else p for p in ledger.periods
                )
                ledger = ledger._replace(periods=sealed, invoices=(*ledger.invoices, (period_id, keys)))
            case ("insert", numbers, unique):
                kept = [n for n in numbers if not (unique and n in ledger.rows)]
                ledger = ledger._replace(rows=tuple(sorted([*ledger.rows, *kept])))
            case _:
                raise AssertionError(f"the model knows no write {write[0]}")
    return ledger


def _advanced(ledger: Ledger, partition: int, end: int, counters: Counters, writer: str) -> Ledger:
    stored = ledger.offsets[partition]
    moved = replace(
        stored,
        next_offset=end,
        counted_offset=max(stored.counted_offset, end),
        counters=stored.counters + counters,
    )
    return ledger._replace(
        offsets=tuple(moved if o is stored else o for o in ledger.offsets),
        writers=tuple(writer if p == partition else w for p, w in enumerate(ledger.writers)),
    )


@contextmanager
def tables_in_memory() -> Any:
    """The ledger's modules ask the connection that they are given, which is an `Io`, and no Postgres."""
    with ExitStack() as patches:
        for module in _modules():
            fakes = _notes(module) | _FAKES.get(module, {})
            for name, fake in fakes.items():
                patches.enter_context(patch.object(module, name, fake))
        yield


def _modules() -> list[ModuleType]:
    """The ledger's modules that the Writer uses."""
    used = {each for step in (write, inlet) for each in vars(step).values() if isinstance(each, ModuleType)}
    return [module for module in used if module.__name__.startswith("fleetmeter_workers.ledger.")]


def _notes(module: ModuleType) -> dict[str, Any]:
    """Whatever else is added beside the rows: counted, so that it is lost with its transaction."""
    name = module.__name__.rpartition(".")[2]
    return {
        function: lambda io, rows, *_, function=function: io.ask("note", f"{name}.{function}", len(rows))
        for function in vars(module)
        if function.startswith("add")
    }


def _lock_at(io: Any, _topic: str, partition: int, offset: int) -> Any:
    return io.ask("lock_at", partition, offset)


def _advance(
    io: Any, _topic: str, start: PartitionOffset, end: int, _epoch: int, _at: Any, new: Counters
) -> Any:
    return io.ask("advance", start.partition, start.next_offset, end, new)


def _merge(io: Any, rows: Iterable[EventRow]) -> set[bytes]:
    kept = _kept(rows)
    return set(io.ask("merge", kept)) if kept else set()


def _kept(rows: Iterable[EventRow]) -> tuple[Event, ...]:
    ordered = sorted(rows, key=lambda row: row.key)
    return tuple(Event(row.key, row.period_id, row.verdict, row.fingerprint) for row in ordered)


def _copy(io: Any, rows: Iterable[EventRow]) -> None:
    if not io.ask("copy", _kept(rows)):
        raise psycopg.errors.UniqueViolation("a copied row's key is there already")


def _last_keys(io: Any, prefixes: Iterable[bytes]) -> dict[bytes, bytes]:
    wanted = tuple(sorted(prefixes))
    return dict(zip(wanted, io.ask("last_keys", wanted), strict=True))


def _standing(io: Any) -> writer_lock.Standing:
    transaction, writers = io.ask("standing")
    return writer_lock.Standing(transaction, {("usage", p): writer for p, writer in enumerate(writers)})


def _known(io: Any, keys: Iterable[bytes]) -> dict[bytes, KnownEvent]:
    found = io.ask("known", tuple(sorted(keys)))
    return {event.key: KnownEvent(event.fingerprint, event.period_id, None) for event in found}


def _find(io: Any, keys: Iterable[Any]) -> dict[Any, ContractPeriod]:
    return {period.key: period for period in io.ask("find", tuple(sorted(set(keys))))}


def _hold(io: Any, ids: Iterable[int]) -> dict[int, Any]:
    return dict(io.ask("hold", tuple(sorted(set(ids)))))


def _add_counts(io: Any, counts: dict[int, PeriodCount]) -> None:
    items = [
        ((period_id, name), getattr(count, name))
        for period_id, count in counts.items()
        for name in ("events", "late", "duplicates", "quarantined")
        if getattr(count, name)
    ]
    io.ask("add_counts", tuple(sorted(items)))


_FAKES: dict[Any, dict[str, Any]] = {
    offsets: {"lock_at": _lock_at, "advance": _advance},
    events: {"merge": _merge, "known": _known, "last_keys": _last_keys},
    event_copy: {"copy": _copy},
    writer_lock: {
        "hold_alone": lambda io: io.ask("alone"),
        "hold_together": lambda io: io.ask("together"),
        "standing": _standing,
    },
    periods: {
        "ensure": lambda io, wanted, _customers: io.ask("ensure", len(list(wanted))),
        "find": _find,
        "hold": _hold,
        "add_counts": _add_counts,
    },
    usage: {
        "add_hours": lambda io, sums: io.ask(
            "add_hours", tuple(sorted((key, total.events) for key, total in sums.items()))
        ),
        "add_duplicates": lambda io, counts: io.ask("add_duplicates", tuple(sorted(counts.items()))),
    },
    quarantine: {
        "add": lambda io, rows: io.ask(
            "set_aside", tuple(sorted((r.partition, r.record_offset, r.item, r.reason) for r in rows))
        )
    },
    backfills: {"lock_backfills": lambda io, names: {}},
}
