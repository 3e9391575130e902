"""Replays: partitions set back to be read again, who asked for it, and the sums that must not change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from fleetmeter_workers.ledger.database import Connection


class Sums(msgspec.Struct, frozen=True, rename="camel"):
    """The ledger in one snapshot: what was counted of Kafka's records, and what the tables hold.

    `events` and `set_aside` are sums of rows, `resolved` is how many of the events a person had billed; the
    first five are counters. A record that is read again moves no counter, so a row that it added would show
    as a difference.
    """

    records: int
    billed: int
    duplicate: int
    quarantined: int
    undecodable: int
    events: int
    resolved: int
    set_aside: int
    invoices: int

    def added_uncounted(self, later: "Sums") -> tuple[int, int]:
        """Events, and rows set aside, that came until `later` without any new record to account for them."""
        counted = later.billed + later.resolved - self.billed - self.resolved
        events = later.events - self.events - counted
        counted = later.quarantined + later.undecodable - self.quarantined - self.undecodable
        return events, later.set_aside - self.set_aside - counted


@dataclass(frozen=True, slots=True)
class Replay:
    """One request: by partition, where reading began again and up to where everything had been counted."""

    replay_id: int
    requested_at: datetime
    actor: str
    from_offsets: dict[int, int]
    to_offsets: dict[int, int]
    sums: Sums


_SUMS: Final = (
    "SELECT sum(records)::bigint, sum(billed)::bigint, sum(duplicate)::bigint, sum(quarantined)::bigint, "
    "sum(undecodable)::bigint, (SELECT coalesce(sum(events), 0)::bigint FROM fleetmeter.usage_hour), "
    "(SELECT count(*) FROM fleetmeter.late_usage WHERE quarantine_id IS NOT NULL), "
    "(SELECT count(*) FROM fleetmeter.quarantine), (SELECT count(*) FROM fleetmeter.invoice) "
    "FROM fleetmeter.partition_offset"
)


def sums(connection: Connection) -> Sums:
    """The ledger's sums now; one statement is one snapshot, and a batch is in it whole or not at all."""
    (row,) = connection.execute(_SUMS).fetchall()
    return Sums(*(value or 0 for value in row))


def set_back(
    connection: Connection, topic: str, targets: Mapping[int, int], actor: str, before: Sums
) -> Replay | None:
    """Set each partition back to its target, where it stands beyond it; None if none does.

    The row lock waits for the batch in hand; its consumer then finds the offset moved, and reads on from it.
    """
    with connection.transaction():
        rows = connection.execute(
            "SELECT partition, next_offset, counted_offset FROM fleetmeter.partition_offset "
            "WHERE topic = %s AND partition = ANY(%s) ORDER BY partition FOR UPDATE",
            (topic, sorted(targets)),
        ).fetchall()
        counted = {partition: end for partition, stands, end in rows if targets[partition] < stands}
        if not counted:
            return None
        for partition in counted:
            connection.execute(
                "UPDATE fleetmeter.partition_offset SET next_offset = %s WHERE topic = %s AND partition = %s",
                (targets[partition], topic, partition),
            )
        (row,) = connection.execute(
            "INSERT INTO fleetmeter.replay (topic, actor, from_offsets, to_offsets, sums) "
            "VALUES (%s, %s, %s, %s, %s) "
            "RETURNING replay_id, requested_at, actor, from_offsets, to_offsets, sums",
            (
                topic,
                actor,
                Jsonb({str(partition): targets[partition] for partition in counted}),
                Jsonb({str(partition): end for partition, end in counted.items()}),
                Jsonb(msgspec.structs.asdict(before)),
            ),
        ).fetchall()
    return _replay(row)


def find(connection: Connection, replay_id: int) -> Replay | None:
    """The replay of this id."""
    row = connection.execute(
        "SELECT replay_id, requested_at, actor, from_offsets, to_offsets, sums FROM fleetmeter.replay "
        "WHERE replay_id = %s",
        (replay_id,),
    ).fetchone()
    return None if row is None else _replay(row)


def latest(connection: Connection, limit: int) -> list[Replay]:
    """The last replays, newest first."""
    rows = connection.execute(
        "SELECT replay_id, requested_at, actor, from_offsets, to_offsets, sums FROM fleetmeter.replay "
        "ORDER BY replay_id DESC LIMIT %s",
        (limit,),
    ).fetchall()
    return [_replay(row) for row in rows]


def _replay(row: tuple[Any, ...]) -> Replay:
    replay_id, requested_at, actor, from_offsets, to_offsets, before = row
    return Replay(
        replay_id,
        requested_at,
        actor,
        {int(partition): offset for partition, offset in from_offsets.items()},
        {int(partition): offset for partition, offset in to_offsets.items()},
        Sums(**before),
    )
