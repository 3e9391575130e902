"""Events: one row an identity for ever; merged by the batch, summed and listed for the seal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Final

import msgspec

from fleetmeter_workers.ledger.arrays import Arrays
from fleetmeter_workers.ledger.database import Connection

BILLED: Final = 0
SET_ASIDE: Final = 1


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """A row to be; `key` and `fingerprint` are 16 bytes, `uncertainty` is in seconds. A row set aside may
    lack what could not be decided. `evidence` is a number of rules/time_evidence."""

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
    evidence: int = 0


class KnownEvent(msgspec.Struct, frozen=True, gc=False):
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


_MERGE: Final = (
    "INSERT INTO fleetmeter.event (event_key, event_at, received_at, fingerprint, device_id, period_id, "
    "uncertainty, "
    "metric_id, verdict, time_method, revision, late, quantity, canonical, evidence) "
    "SELECT * FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[], %b::uuid[], %b::int4[], "
    "%b::int4[], %b::int4[], "
    "%b::int2[], %b::int2[], %b::int2[], %b::int2[], %b::bool[], %b::numeric[], %b::bytea[], "
    "%b::int2[]) "
    "ON CONFLICT (event_key) DO NOTHING RETURNING uuid_send(event_key)"
)


def merge(connection: Connection, rows: Sequence[EventRow]) -> set[bytes]:
    """Add the rows whose identity is new, in one statement sorted by key; returns the keys that were added.

    The rows' keys must differ from each other.
    """
    if not rows:
        return set()
    ordered = sorted(rows, key=attrgetter("key"))
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
        Arrays.smallints([row.evidence for row in ordered]),
    )
    with connection.cursor(binary=True) as cursor:
        cursor.execute(_MERGE, columns)
        return {bytes(row[0]) for row in cursor.fetchall()}


def last_keys(connection: Connection, prefixes: Iterable[bytes]) -> dict[bytes, bytes]:
    """The largest key that begins with each of these eight bytes; eight bytes and zeros where none does."""
    wanted = sorted(prefixes)
    lowest = [prefix + bytes(8) for prefix in wanted]
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            "SELECT uuid_send(least), uuid_send(coalesce((SELECT event_key FROM fleetmeter.event "
            "WHERE event_key BETWEEN least AND most ORDER BY event_key DESC LIMIT 1), least)) "
            "FROM unnest(%b::uuid[], %b::uuid[]) AS wanted (least, most)",
            (Arrays.uuids(lowest), Arrays.uuids([prefix + b"\xff" * 8 for prefix in wanted])),
        )
        return {bytes(least)[:8]: bytes(last) for least, last in cursor.fetchall()}


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
    # By numbers before the names are looked up: the planner knows nothing about a view's columns.
    rows = connection.execute(
        "SELECT alias, code, quantity, events, first_event, last_event FROM ("
        "SELECT device_id, metric_id, sum(quantity) AS quantity, count(*) AS events, "
        "min(event_at) AS first_event, max(event_at) AS last_event FROM fleetmeter.booked_event "
        "WHERE period_id = %s GROUP BY device_id, metric_id) AS own "
        "JOIN fleetmeter.device USING (device_id) JOIN fleetmeter.metric USING (metric_id)",
        (period_id,),
    ).fetchall()
    return [DeviceSum(*row) for row in rows]
