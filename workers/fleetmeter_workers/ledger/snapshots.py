"""Snapshots: the rows that an invoice is drawn up from, summed by device and listed for the digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import DeviceSum


@dataclass(frozen=True, slots=True)
class BilledEvent:
    """A billed event as the snapshot's digest sees it."""

    alias: str
    event_id: str
    metric: str
    quantity: Decimal
    event_at: datetime


_REOPENED: Final = "SELECT EXISTS (SELECT FROM fleetmeter.reopening WHERE period_id = %s AND revision > %s)"
# Summed by numbers before the names are looked up: the planner knows nothing about a view's columns.
_OWN: Final = (
    "SELECT alias, code, quantity, events, first_event, last_event FROM ("
    "SELECT device_id, metric_id, sum(quantity) AS quantity, count(*) AS events, "
    "min(event_at) AS first_event, max(event_at) AS last_event FROM fleetmeter.booked_event "
    "WHERE period_id = %(period)s AND revision BETWEEN 1 AND %(revision)s GROUP BY device_id, metric_id) "
    "AS own JOIN fleetmeter.device USING (device_id) JOIN fleetmeter.metric USING (metric_id)"
)
_ROWS: Final = (
    "SELECT alias, event_id, code, quantity, event_at FROM ("
    "SELECT alias, fleetmeter.event_id(uid, event_key, canonical) AS event_id, code, quantity, event_at "
    "FROM fleetmeter.booked_event JOIN fleetmeter.device USING (device_id) "
    "JOIN fleetmeter.metric USING (metric_id) "
    "WHERE period_id = %(period)s AND revision BETWEEN %(least)s AND %(revision)s "
    "UNION ALL "
    "SELECT alias, fleetmeter.event_id(uid, event_key, canonical) || mark, code, quantity, event_at "
    "FROM fleetmeter.late_usage JOIN fleetmeter.device USING (device_id) "
    "JOIN fleetmeter.metric USING (metric_id) WHERE booked_period_id = %(period)s "
    "AND quarantine_id IS NOT NULL AND revision <= %(revision)s "
    "AND (period_id = booked_period_id OR %(least)s = 0)) AS billed "
    'ORDER BY alias COLLATE "C", event_id COLLATE "C"'
)


def is_reopened(connection: Connection, period_id: int, revision: int) -> bool:
    """Whether the period has rows of a later revision than this one."""
    row = connection.execute(_REOPENED, (period_id, revision)).fetchone()
    return row is not None and row[0]


def own_sums(connection: Connection, period_id: int, revision: int) -> list[DeviceSum]:
    """Billed usage of the period itself up to this revision, by device and metric, summed from the rows."""
    rows = connection.execute(_OWN, {"period": period_id, "revision": revision}).fetchall()
    return [DeviceSum(*row) for row in rows]


def rows(
    connection: Connection, period_id: int, revision: int, *, adjustments: bool
) -> Iterator[BilledEvent]:
    """The rows of an invoice by alias and event id, both as UTF-8 bytes; inside a transaction.

    The period's own up to this revision and, with `adjustments`, what it bills of earlier periods.
    """
    # A cursor is planned for its first rows, but all of these are read.
    connection.execute("SET LOCAL cursor_tuple_fraction = 1")
    with connection.cursor(name="snapshot") as cursor:
        cursor.itersize = 10_000
        least = 0 if adjustments else 1
        cursor.execute(_ROWS, {"period": period_id, "revision": revision, "least": least})
        for row in cursor:
            yield BilledEvent(*row)
