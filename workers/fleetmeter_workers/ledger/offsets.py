"""Partition offsets: how far each partition is decided, and its counters; the fence between consumers."""

import base64
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fleetmeter_rules.conservation import Counters
from fleetmeter_workers.ledger.database import Connection


@dataclass(frozen=True, slots=True)
class PartitionOffset:
    """The stored state of one partition.

    `counted_offset`: records below it have been counted once; they count no more if they are read again.
    `watermark_at`: the log time of the last record decided.
    """

    partition: int
    topic_id: UUID
    leader_epoch: int
    next_offset: int
    counted_offset: int
    watermark_at: datetime | None
    counters: Counters


def read_offsets(connection: Connection, topic: str) -> dict[int, PartitionOffset]:
    """The stored state of every partition of the topic."""
    rows = connection.execute(
        "SELECT partition, topic_id, leader_epoch, next_offset, counted_offset, watermark_at, records, "
        "decoded, "
        "not_billable, undecodable, items, billed, duplicate, quarantined "
        "FROM fleetmeter.partition_offset WHERE topic = %s ORDER BY partition",
        (topic,),
    ).fetchall()
    return {row[0]: _offset(row) for row in rows}


def claim_partition(
    connection: Connection, topic: str, partition: int, topic_id: UUID, first_offset: int
) -> None:
    """Make the row of a partition that nobody has read yet, at the first offset that Kafka still has."""
    connection.execute(
        "INSERT INTO fleetmeter.partition_offset (topic, partition, topic_id, next_offset, counted_offset) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition) DO NOTHING",
        (topic, partition, topic_id, first_offset, first_offset),
    )


def lock_at(connection: Connection, topic: str, partition: int, next_offset: int) -> PartitionOffset | None:
    """The partition's row, locked, if it still stands at `next_offset`; None if another consumer moved it."""
    row = connection.execute(
        "SELECT partition, topic_id, leader_epoch, next_offset, counted_offset, watermark_at, records, "
        "decoded, "
        "not_billable, undecodable, items, billed, duplicate, quarantined "
        "FROM fleetmeter.partition_offset WHERE topic = %s AND partition = %s AND next_offset = %s FOR "
        "UPDATE",
        (topic, partition, next_offset),
    ).fetchone()
    return None if row is None else _offset(row)


def advance(
    connection: Connection,
    topic: str,
    start: PartitionOffset,
    end_offset: int,
    epoch: int,
    at: datetime,
    new: Counters,
) -> bool:
    """Move the partition from `start` to `end_offset` and add the counters; False if it stands elsewhere."""
    done = connection.execute(
        "UPDATE fleetmeter.partition_offset SET next_offset = %s, counted_offset = greatest(counted_offset, "
        "%s), "
        "leader_epoch = greatest(leader_epoch, %s), watermark_at = %s, updated_at = now(), records = "
        "records + %s, "
        "decoded = decoded + %s, not_billable = not_billable + %s, undecodable = undecodable + %s, "
        "items = items + %s, billed = billed + %s, duplicate = duplicate + %s, quarantined = quarantined + "
        "%s "
        "WHERE topic = %s AND partition = %s AND next_offset = %s",
        (end_offset, end_offset, epoch, at, *astuple(new), topic, start.partition, start.next_offset),
    )
    return done.rowcount == 1


def totals(connection: Connection, topic: str) -> Counters:
    """The counters of all partitions together."""
    total = Counters()
    for stored in read_offsets(connection, topic).values():
        total += stored.counters
    return total


def _offset(row: tuple[Any, ...]) -> PartitionOffset:
    partition, topic_id, epoch, next_offset, counted_offset, watermark_at, *counters = row
    return PartitionOffset(
        partition, topic_id, epoch, next_offset, counted_offset, watermark_at, Counters(*counters)
    )


def topic_uuid(kafka_text: str) -> UUID:
    """Kafka's topic id, from the URL-safe base64 text that its clients show."""
    return UUID(bytes=base64.urlsafe_b64decode(kafka_text + "=" * (-len(kafka_text) % 4)))
