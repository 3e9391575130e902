"""Backfills: the ranges of history that are being loaded, and what was decided about them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from psycopg.types.json import Jsonb

from fleetmeter_workers.ledger.database import Connection

State = Literal["pending", "completed", "reverted"]

_ALL: Final = (
    "SELECT backfill_id, range_from, range_to, state, end_offsets, actor, decided_at FROM "
    "fleetmeter.backfill "
    "WHERE %s::text[] IS NULL OR backfill_id = ANY(%s) ORDER BY range_from"
)


@dataclass(frozen=True, slots=True)
class Backfill:
    """One backfill. `end_offsets`: partition -> the queue's end when it was decided; None while pending."""

    backfill_id: str
    range_from: datetime
    range_to: datetime
    state: State
    end_offsets: dict[int, int] | None
    actor: str | None
    decided_at: datetime | None

    def accepts(self, partition: int, offset: int) -> bool:
        """Whether a record at this place counts: the backfill is open, or was when the record came."""
        if self.state == "pending":
            return True
        return self.state == "completed" and offset < (self.end_offsets or {}).get(partition, 0)


def open_backfill(connection: Connection, backfill_id: str, range_from: datetime, range_to: datetime) -> None:
    """Record that the region asks for this backfill; one that is known already is left alone."""
    connection.execute(
        "INSERT INTO fleetmeter.backfill (backfill_id, range_from, range_to) VALUES (%s, %s, %s) "
        "ON CONFLICT (backfill_id) DO NOTHING",
        (backfill_id, range_from, range_to),
    )


def all_backfills(connection: Connection) -> dict[str, Backfill]:
    """Every backfill ever asked for, by id."""
    return _read(connection, None)


def lock_backfills(connection: Connection, backfill_ids: list[str]) -> dict[str, Backfill]:
    """The backfills of these ids, held against a decision until the transaction ends."""
    connection.execute(
        "SELECT FROM fleetmeter.backfill WHERE backfill_id = ANY(%s) ORDER BY backfill_id FOR SHARE",
        (backfill_ids,),
    )
    return _read(connection, backfill_ids)


def decide(
    connection: Connection, backfill_id: str, state: State, end_offsets: dict[int, int], actor: str
) -> Backfill | None:
    """Complete or revert an open backfill, in its own transaction; None where there is no such backfill.

    A backfill that was decided before is returned as it is. Read `end_offsets` from Kafka just before.
    """
    with connection.transaction():
        connection.execute(
            "UPDATE fleetmeter.backfill SET state = %s, end_offsets = %s, actor = %s, decided_at = now() "
            "WHERE backfill_id = %s AND state = 'pending'",
            (state, Jsonb({str(p): offset for p, offset in sorted(end_offsets.items())}), actor, backfill_id),
        )
        return _read(connection, [backfill_id]).get(backfill_id)


def _read(connection: Connection, ids: list[str] | None) -> dict[str, Backfill]:
    rows = connection.execute(_ALL, (ids, ids)).fetchall()
    found: dict[str, Backfill] = {}
    for backfill_id, range_from, range_to, state, end_offsets, actor, decided_at in rows:
        offsets = None if end_offsets is None else {int(p): int(offset) for p, offset in end_offsets.items()}
        found[backfill_id] = Backfill(backfill_id, range_from, range_to, state, offsets, actor, decided_at)
    return found
