"""The quarantine: what was not billed, with reason, bytes and place in Kafka, and its resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from fleetmeter_workers.ledger.database import Connection

WHOLE_RECORD: Final = -1
"""The item of a row that stands for a record which gave no item."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A row to be. `detail` is for people and holds no customer's name; `headers` are the record's own.
    Of several rows of one record only the first needs `raw`."""

    topic_id: UUID
    partition: int
    record_offset: int
    item: int
    received_at: datetime
    reason: str
    detail: str
    adapter: str
    topic: str
    headers: dict[str, str]
    raw: bytes | None
    event_key: bytes | None = None
    first_fingerprint: bytes | None = None
    customer_id: int | None = None
    device_id: int | None = None
    period_id: int | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row of the quarantine as an operator of the region sees it."""

    quarantine_id: int
    reason: str
    detail: str
    received_at: datetime
    customer: str | None
    device: str | None
    billing_period: str | None
    adapter: str
    topic: str
    partition: int
    record_offset: int
    item: int
    late: bool
    resolution: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    size: int


def add(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Set the rows aside; one that is there already, by its place in Kafka, is left alone."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleetmeter.quarantine (topic_id, partition, record_offset, item, received_at, "
            "reason, detail, "
            "adapter, topic, headers, raw, event_key, first_fingerprint, customer_id, device_id, period_id, "
            "late) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (topic_id, partition, record_offset, item) DO NOTHING",
            [
                (
                    row.topic_id,
                    row.partition,
                    row.record_offset,
                    row.item,
                    row.received_at,
                    row.reason,
                    row.detail,
                    row.adapter,
                    row.topic,
                    Jsonb(row.headers),
                    row.raw,
                    None if row.event_key is None else UUID(bytes=row.event_key),
                    None if row.first_fingerprint is None else UUID(bytes=row.first_fingerprint),
                    row.customer_id,
                    row.device_id,
                    row.period_id,
                    row.late,
                )
                for row in sorted(rows, key=lambda row: (row.partition, row.record_offset, row.item))
            ],
        )


def counts(connection: Connection) -> dict[str, int]:
    """How many rows wait for a decision, by reason."""
    rows = connection.execute(
        "SELECT reason, count(*) FROM fleetmeter.quarantine WHERE resolution IS NULL GROUP BY reason ORDER "
        "BY reason"
    ).fetchall()
    return dict(rows)


def listed(
    connection: Connection,
    reason: str | None = None,
    after: int = 0,
    limit: int = 100,
    *,
    resolved: bool = False,
    billing_period: str | None = None,
) -> list[SetAside]:
    """Rows in the order they came, `limit` of them after the id `after`; resolved ones only if asked."""
    rows = connection.execute(
        "SELECT quarantine_id, reason, detail, quarantine.received_at, customer.code, "
        "coalesce(device.alias, 'unregistered'), billing_period, adapter, topic, partition, record_offset, "
        "item, late, resolution, resolved_by, resolved_at, coalesce(octet_length(raw), 0) "
        "FROM fleetmeter.quarantine "
        "LEFT JOIN fleetmeter.customer ON customer.customer_id = quarantine.customer_id "
        "LEFT JOIN fleetmeter.device ON device.device_id = quarantine.device_id "
        "LEFT JOIN fleetmeter.contract_period ON contract_period.period_id = quarantine.period_id "
        "WHERE quarantine_id > %(after)s AND (%(reason)s::text IS NULL OR reason = %(reason)s) "
        "AND (%(period)s::text IS NULL OR billing_period = %(period)s) "
        "AND (%(resolved)s OR resolution IS NULL) ORDER BY quarantine_id LIMIT %(limit)s",
        {"after": after, "reason": reason, "resolved": resolved, "limit": limit, "period": billing_period},
    ).fetchall()
    return [SetAside(*row) for row in rows]


def raw_bytes(connection: Connection, quarantine_id: int) -> bytes | None:
    """The record's bytes as they were received; None where there is no such row."""
    row = connection.execute(
        "SELECT kept.raw FROM fleetmeter.quarantine AS asked "
        "JOIN fleetmeter.quarantine AS kept USING (topic_id, partition, record_offset) "
        "WHERE asked.quarantine_id = %s AND kept.raw IS NOT NULL ORDER BY kept.item LIMIT 1",
        (quarantine_id,),
    ).fetchone()
    return None if row is None else bytes(row[0])
