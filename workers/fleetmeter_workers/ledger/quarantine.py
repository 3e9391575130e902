"""The quarantine: what was not billed, with reason, bytes and place in Kafka, and its resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from fleetmeter_workers.ledger.database import Connection

WHOLE_RECORD: Final = -1
"""The item of a row that stands for a record which gave no item."""
Resolution = Literal["billed_next", "credited", "written_off", "duplicate"]
"""What became of a row: billed after all, its first copy taken back, given up, or found to be a copy."""
WRITTEN_OFF: Final = "written_off"
CONTRACT: Final = "contract"
"""Who resolved what the contract itself decides."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A row to be. `detail` is for people and holds no customer's name; `headers` are the record's own.
    Of several rows of one record only the first needs `raw`. `resolution`: what the contract decided."""

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
    resolution: str | None = None


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


@dataclass(frozen=True, slots=True)
class Identity:
    """The event row that holds an identity for ever. `period_id`: the period that it belongs to;
    `booked_period_id`: the one whose invoice bills it. `evidence`: that of its time, packed."""

    key: bytes
    canonical: bytes
    device_id: int
    event_at: datetime | None
    received_at: datetime
    metric_id: int | None
    metric: str | None
    quantity: Decimal | None
    period_id: int | None
    booked_period_id: int | None
    is_billed: bool
    evidence: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of the quarantine with everything that is known of it.

    `raw`: the record's bytes, which another row of the same record may hold. `identity`: the row of the
    event that has the same identity, its own or, where `conflicts`, another one's that came first.
    """

    quarantine_id: int
    reason: str
    detail: str
    received_at: datetime
    recorded_at: datetime
    adapter: str
    topic: str
    headers: dict[str, str]
    partition: int
    record_offset: int
    item: int
    late: bool
    resolution: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    note: str | None
    conflicts: bool
    customer: str | None
    billing_period: str | None
    raw: bytes | None
    identity: Identity | None


def add(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Set the rows aside; one that is there already, by its place in Kafka, is left alone."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleetmeter.quarantine (topic_id, partition, record_offset, item, received_at, "
            "reason, detail, "
            "adapter, topic, headers, raw, event_key, first_fingerprint, customer_id, device_id, period_id, "
            "late, resolution, resolved_by, resolved_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
            "CASE WHEN %s THEN now() END) "
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
                    row.resolution,
                    None if row.resolution is None else CONTRACT,
                    row.resolution is not None,
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
    device: str | None = None,
) -> list[SetAside]:
    """Rows in the order they came, `limit` of them after the id `after`; resolved ones only if asked.

    `device`: a device's alias or uid.
    """
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
        "AND (%(device)s::text IS NULL OR quarantine.device_id IN "
        "(SELECT device_id FROM fleetmeter.device WHERE alias = %(device)s OR uid = %(device)s)) "
        "AND (%(resolved)s OR resolution IS NULL) ORDER BY quarantine_id LIMIT %(limit)s",
        {
            "after": after,
            "reason": reason,
            "resolved": resolved,
            "limit": limit,
            "period": billing_period,
            "device": device,
        },
    ).fetchall()
    return [SetAside(*row) for row in rows]


def kept(connection: Connection, quarantine_id: int) -> Kept | None:
    """Everything about one row; None where there is no such row."""
    row = connection.execute(
        "SELECT quarantine_id, reason, detail, quarantine.received_at, recorded_at, adapter, topic, headers, "
        "partition, record_offset, item, late, resolution, resolved_by, resolved_at, note, "
        "first_fingerprint IS NOT NULL, customer.code, billing_period, "
        "uuid_send(event_key) FROM fleetmeter.quarantine "
        "LEFT JOIN fleetmeter.customer ON customer.customer_id = quarantine.customer_id "
        "LEFT JOIN fleetmeter.contract_period ON contract_period.period_id = quarantine.period_id "
        "WHERE quarantine_id = %s",
        (quarantine_id,),
    ).fetchone()
    if row is None:
        return None
    *known, key = row
    identity = None if key is None else _identity(connection, bytes(key))
    return Kept(*known, raw=raw_bytes(connection, quarantine_id), identity=identity)


def hold(connection: Connection, quarantine_id: int) -> None:
    """Keep everyone else from resolving the row until the transaction ends."""
    connection.execute(
        "SELECT FROM fleetmeter.quarantine WHERE quarantine_id = %s FOR UPDATE", (quarantine_id,)
    )


def resolve(
    connection: Connection, quarantine_id: int, resolution: Resolution, actor: str, note: str | None
) -> bool:
    """Note what became of the row, once; False where it was resolved before, or is none."""
    done = connection.execute(
        "UPDATE fleetmeter.quarantine SET resolution = %s, resolved_by = %s, resolved_at = now(), note = %s "
        "WHERE quarantine_id = %s AND resolution IS NULL",
        (resolution, actor, note, quarantine_id),
    )
    return done.rowcount == 1


def booked_in(connection: Connection, quarantine_id: int) -> tuple[str, str | None] | None:
    """The billing period that bills what was resolved, and the number of its invoice once there is one."""
    return connection.execute(
        "SELECT booked.billing_period, number FROM fleetmeter.late_usage "
        "JOIN fleetmeter.contract_period AS booked ON booked.period_id = booked_period_id "
        "LEFT JOIN fleetmeter.invoice ON invoice.period_id = booked_period_id AND version = 1 "
        "WHERE quarantine_id = %s",
        (quarantine_id,),
    ).fetchone()


def _identity(connection: Connection, key: bytes) -> Identity | None:
    """The identity's row; billed by the ledger's own decision or, later, by a person's."""
    row = connection.execute(
        "SELECT event.canonical, event.device_id, event.event_at, event.received_at, event.metric_id, code, "
        "coalesce(resolved.quantity, event.quantity), "
        "coalesce(resolved.period_id, moved_to, event.period_id), "
        "coalesce(resolved.booked_period_id, moved_to, event.period_id), "
        "verdict = 0 OR resolved.event_key IS NOT NULL, event.evidence "
        "FROM fleetmeter.event LEFT JOIN fleetmeter.metric USING (metric_id) "
        "LEFT JOIN fleetmeter.boundary_decision USING (event_key) "
        "LEFT JOIN fleetmeter.late_usage AS resolved ON resolved.event_key = event.event_key AND mark = '' "
        "WHERE event.event_key = %s",
        (UUID(bytes=key),),
    ).fetchone()
    if row is None:
        return None
    canonical, *rest = row
    return Identity(key, bytes(canonical), *rest)


def raw_bytes(connection: Connection, quarantine_id: int) -> bytes | None:
    """The record's bytes as they were received; None where there is no such row."""
    row = connection.execute(
        "SELECT kept.raw FROM fleetmeter.quarantine AS asked "
        "JOIN fleetmeter.quarantine AS kept USING (topic_id, partition, record_offset) "
        "WHERE asked.quarantine_id = %s AND kept.raw IS NOT NULL ORDER BY kept.item LIMIT 1",
        (quarantine_id,),
    ).fetchone()
    return None if row is None else bytes(row[0])
