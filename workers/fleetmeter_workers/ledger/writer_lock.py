"""Writer lock: who adds events right now, one consumer alone or several together, and who did last."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleetmeter_workers.ledger.database import Connection

_LOCK: Final = 0x666C6577

Writers = Mapping[tuple[str, int], str]
"""The transaction that wrote each partition's offset last, by topic and partition."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The transaction that asks, and what was committed before it."""

    transaction: str
    writers: Writers


def hold_alone(connection: Connection) -> bool:
    """Keep every other consumer from adding events until the transaction ends; False, at once, if one is
    adding."""
    row = connection.execute("SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
    return row is not None and bool(row[0])


def hold_together(connection: Connection) -> None:
    """Add events beside other consumers until the transaction ends; waits for one that adds alone."""
    connection.execute("SELECT FROM pg_catalog.pg_advisory_xact_lock_shared(%s)", (_LOCK,))


def standing(connection: Connection) -> Standing:
    """Who wrote last. Every consumer moves an offset with the events that it adds, so that while the lock is
    held alone, writers that are the same as before mean that nobody else has added any."""
    rows = connection.execute(
        "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.xid::text, topic, partition, xmin::text "
        "FROM fleetmeter.partition_offset"
    ).fetchall()
    transaction = rows[0][0] if rows else ""
    return Standing(transaction, {(topic, partition): xmin for _, topic, partition, xmin in rows})
