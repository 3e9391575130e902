"""Commit orders that lose or invent money, as programs of the model; records are numbers, batches are two."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import psycopg

from fleetmeter_rules.conservation import Counters
from fleetmeter_workers.ledger.offsets import PartitionOffset

from .memory_ledger import Ledger
from .model import Faults, Scenario, losses
from .replay import Io

RECORDS: Final = 6
_TOPIC_ID: Final = UUID(int=7)
MIXES: Final = {
    "crash": Faults(crashes=3),
    "rebalance": Faults(rebalances=3),
    "failover": Faults(failovers=2),
    "all": Faults(crashes=1, rebalances=1, failovers=1),
}


class ChangedError(Exception):
    """The group gave the partitions to somebody else, or back."""


def _take(io: Io, at: int) -> range:
    answer = io.ask("take", (at,))
    if answer[0] == "changed":
        raise ChangedError
    ((_, first, end),) = answer[1]
    return range(first, end)


def _insert(io: Io, numbers: Any, *, unique: bool = False, then: Callable[[], None] | None = None) -> None:
    with io.transaction():
        io.ask("insert", tuple(numbers), unique)
        if then is not None:
            then()


def by_group(body: Callable[[Io, range], None]) -> Callable[[Io, Any], Any]:
    """A consumer that starts from the group's offset, and does a batch again when its connection broke."""

    def program(io: Io, at: Any) -> Any:
        if at is None:
            return io.ask("group")
        try:
            batch = _take(io, at)
        except ChangedError:
            return None
        except psycopg.OperationalError:
            return at
        try:
            body(io, batch)
        except psycopg.OperationalError:
            return at
        return batch.stop

    return program


def _a(io: Io, batch: range) -> None:
    io.ask("commit_group", batch.stop)
    _insert(io, batch)


def _b(io: Io, batch: range) -> None:
    _insert(io, batch)
    io.ask("commit_group", batch.stop)


def _c(io: Io, batch: range) -> None:
    _insert(io, batch, unique=True)
    io.ask("commit_group", batch.stop)


def _d(io: Io, batch: range) -> None:
    seen = io.ask("cached", tuple(batch))
    _insert(io, (n for n in batch if n not in seen))
    io.ask("commit_group", batch.stop)
    io.ask("cache", tuple(batch))


def _e(io: Io, batch: range) -> None:
    claimed = io.ask("claim", tuple(batch))
    _insert(io, claimed)
    io.ask("commit_group", batch.stop)


class MovedError(Exception):
    """The compare-and-set found another offset."""


def by_ledger(*, compare: bool) -> Callable[[Io, Any], Any]:
    """A consumer whose offset is in the rows' transaction; a new connection does not make it look again."""

    def program(io: Io, at: Any) -> Any:
        if at is None:
            try:
                return io.ask("read_offsets")[0].next_offset
            except psycopg.OperationalError:
                return None
        try:
            batch = _take(io, at)
        except ChangedError:
            return None
        except psycopg.OperationalError:
            return at

        def move() -> None:
            if not compare:
                io.ask("write_offset", batch.stop)
            elif not io.ask("advance", 0, batch.start, batch.stop, Counters()):
                raise MovedError

        try:
            _insert(io, batch, then=move)
        except MovedError:
            return None
        except psycopg.OperationalError:
            return at
        return batch.stop

    return program


DESIGNS: Final = {
    "A commit the offset, then insert": by_group(_a),
    "B insert, then commit the offset": by_group(_b),
    "C insert under a unique key, then commit the offset": by_group(_c),
    "D ask a cache, insert, commit the offset, tell the cache": by_group(_d),
    "E claim in a cache, insert, commit the offset": by_group(_e),
    "F rows and offset in one transaction, written blindly": by_ledger(compare=False),
    "G the same by compare-and-set": by_ledger(compare=True),
}


def scenario(design: str, faults: Faults) -> Scenario:
    """Two consumers of that design and six records."""
    return Scenario(
        programs=(DESIGNS[design],) * 2,
        ends=(RECORDS,),
        start=Ledger((PartitionOffset(0, _TOPIC_ID, 0, 0, 0, None, Counters()),)),
        faults=faults,
        always=lambda ledger: [law for law in losses(ledger.rows, RECORDS) if law.startswith("doubled")],
        finally_=lambda ledger: losses(ledger.rows, RECORDS),
    )
