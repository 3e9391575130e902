"""Events: one row an identity for ever; merged by the batch, summed and listed for the seal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fleetmeter_workers.ledger.arrays import Arrays
from fleetmeter_workers.ledger.database import Connection

BILLED: Final = 0
SET_ASIDE: Final = 1


@dataclass(frozen=True, slots=True)
class EventRow:
    """A row to be; `key` and `fingerprint` are 16 bytes, `uncertainty` is in seconds. A row set aside may
    lack what could not be decided."""

    key: bytes
    event_at: datetime | None
    received_at: datetime
    fingerprint: bytes
    device_id: int
    period_id: int | None
    uncertainty: int
    metric_id: int | None
    verdict: int
    time_method: int
    revision: int
    late: bool
    quantity: Decimal | None
    canonical: bytes


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """What decides about another copy of an identity: the first one's content and period."""

    fingerprint: bytes
    period_id: int | None
    customer_id: int | None


@dataclass(frozen=True, slots=True)
class DeviceSum:
    """A device's billed usage of one metric in a contract period."""

    alias: str
    metric: str
    quantity: Decimal
    events: int
    first_event: datetime
    last_event: datetime


@dataclass(frozen=True, slots=True)
class BilledEvent:
    """A billed event as the snapshot's digest sees it."""

    alias: str
    event_id: str
    metric: str
    quantity: Decimal
    event_at: datetime


_MERGE: Final = (
    "INSERT INTO fleetmeter.event (event_key, event_at, received_at, fingerprint, device_id, period_id, "
    "uncertainty, "
    "metric_id, verdict, time_method, revision, late, quantity, canonical) "
    "SELECT * FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[], %b::uuid[], %b::int4[], "
    "%b::int4[], %b::int4[], "
    "%b::int2[], %b::int2[], %b::int2[], %b::int2[], %b::bool[], %b::numeric[], %b::bytea[]) "
    "ON CONFLICT (event_key) DO NOTHING RETURNING uuid_send(event_key)"
)


def merge(connection: Connection, rows: Sequence[EventRow]) -> set[bytes]:
    """Add the rows whose identity is new, in one statement sorted by key; returns the keys that were added.

    The rows' keys must differ from each other.
    """
    if not rows:
        return set()
    ordered = sorted(rows, key=lambda row: row.key)
    columns = (
        Arrays.uuids([row.key for row in ordered]),
        Arrays.instants([row.event_at for row in ordered]),
        Arrays.instants([row.received_at for row in ordered]),
        Arrays.uuids([row.fingerprint for row in ordered]),
        Arrays.integers([row.device_id for row in ordered]),
        Arrays.integers([row.period_id for row in ordered]),
        Arrays.integers([row.uncertainty for row in ordered]),
        Arrays.smallints([row.metric_id for row in ordered]),
        Arrays.smallints([row.verdict for row in ordered]),
        Arrays.smallints([row.time_method for row in ordered]),
        Arrays.smallints([row.revision for row in ordered]),
        Arrays.booleans([row.late for row in ordered]),
        Arrays.numerics([row.quantity for row in ordered]),
        Arrays.byte_strings([row.canonical for row in ordered]),
    )
    with connection.cursor(binary=True) as cursor:
        cursor.execute(_MERGE, columns)
        return {bytes(row[0]) for row in cursor.fetchall()}


def known(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, KnownEvent]:
    """What is known of these identities, by key."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            "SELECT uuid_send(event_key), uuid_send(fingerprint), period_id, customer_id FROM "
            "fleetmeter.event "
            "LEFT JOIN fleetmeter.contract_period USING (period_id) WHERE event_key = ANY(%b::uuid[])",
            (Arrays.uuids(sorted(keys)),),
        )
        return {bytes(row[0]): KnownEvent(bytes(row[1]), row[2], row[3]) for row in cursor.fetchall()}


def device_sums(connection: Connection, period_id: int) -> list[DeviceSum]:
    """Billed usage of the period by device and metric, summed from the rows."""
    rows = connection.execute(
        "SELECT alias, code, sum(quantity), count(*), min(event_at), max(event_at) FROM fleetmeter.event "
        "JOIN fleetmeter.device USING (device_id) JOIN fleetmeter.metric USING (metric_id) "
        "WHERE period_id = %s AND verdict = 0 GROUP BY alias, code",
        (period_id,),
    ).fetchall()
    return [DeviceSum(*row) for row in rows]


def billed(connection: Connection, period_id: int) -> Iterator[BilledEvent]:
    """The period's billed events by alias and event id, both as UTF-8 bytes; inside a transaction."""
    with connection.cursor(name="billed") as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            "SELECT * FROM (SELECT alias, fleetmeter.event_id(uid, event_key, canonical) AS event_id, code, "
            "quantity, event_at FROM fleetmeter.event JOIN fleetmeter.device USING (device_id) "
            "JOIN fleetmeter.metric USING (metric_id) WHERE period_id = %s AND verdict = 0) AS billed "
            'ORDER BY alias COLLATE "C", event_id COLLATE "C"',
            (period_id,),
        )
        for row in cursor:
            yield BilledEvent(*row)
