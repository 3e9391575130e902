"""Late usage: what belongs to one contract period and is billed by another one's invoice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fleetmeter_workers.ledger.arrays import Arrays
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import DeviceSum

CREDIT: Final = ":credit"
"""The mark of a row that takes usage back."""


@dataclass(frozen=True, slots=True)
class LateRow:
    """A row to be. `mark` is empty for the identity's own event; `quarantine_id` names what a person
    resolved, None where the contract defers; `revision` is more than 1 where an amended invoice of its own
    period bills it."""

    key: bytes
    canonical: bytes
    device_id: int
    metric_id: int
    quantity: Decimal
    event_at: datetime
    received_at: datetime
    period_id: int
    booked_period_id: int
    revision: int = 1
    mark: str = ""
    quarantine_id: int | None = None


@dataclass(frozen=True, slots=True)
class LateSum:
    """A device's usage of one metric that belongs to the period and is billed elsewhere or by a person's
    decision. `credit`: it is taken back, so below 0; `resolved`: a person decided so."""

    period_id: int
    credit: bool
    resolved: bool
    revision: int
    sum: DeviceSum


_ADD: Final = (
    "INSERT INTO fleetmeter.late_usage (event_key, mark, canonical, device_id, metric_id, quantity, "
    "event_at, received_at, period_id, booked_period_id, revision, quarantine_id) "
    "SELECT * FROM unnest(%b::uuid[], %s::text[], %b::bytea[], %b::int4[], %b::int2[], %b::numeric[], "
    "%b::timestamptz[], %b::timestamptz[], %b::int4[], %b::int4[], %b::int2[], %s::int8[]) "
    "ON CONFLICT (event_key, mark) DO NOTHING"
)
_ENTRIES: Final = (
    "SELECT late_usage.period_id, mark = ':credit', quarantine_id IS NOT NULL, revision, alias, code, "
    "sum(quantity), count(*), min(event_at), max(event_at) "
    "FROM fleetmeter.late_usage JOIN fleetmeter.device USING (device_id) "
    "JOIN fleetmeter.metric USING (metric_id) WHERE booked_period_id = %s "
    "GROUP BY 1, 2, 3, 4, alias, code ORDER BY 1, 2, 3, 4, alias, code"
)


def add(connection: Connection, rows: Sequence[LateRow]) -> int:
    """Book the rows in one statement, in key order; returns how many were new. A row that is there stays as
    it is."""
    ordered = sorted(rows, key=lambda row: (row.key, row.mark))
    columns = (
        Arrays.uuids([row.key for row in ordered]),
        [row.mark for row in ordered],
        Arrays.byte_strings([row.canonical for row in ordered]),
        Arrays.integers([row.device_id for row in ordered]),
        Arrays.smallints([row.metric_id for row in ordered]),
        Arrays.numerics([row.quantity for row in ordered]),
        Arrays.instants([row.event_at for row in ordered]),
        Arrays.instants([row.received_at for row in ordered]),
        Arrays.integers([row.period_id for row in ordered]),
        Arrays.integers([row.booked_period_id for row in ordered]),
        Arrays.smallints([row.revision for row in ordered]),
        [row.quarantine_id for row in ordered],
    )
    return connection.execute(_ADD, columns).rowcount


def entries(connection: Connection, period_id: int) -> list[LateSum]:
    """What this period's invoices bill besides the events that it took in time, by the period that each
    belongs to."""
    rows = connection.execute(_ENTRIES, (period_id,)).fetchall()
    return [LateSum(*head, sum=DeviceSum(*rest)) for *head, rest in ((*row[:4], row[4:]) for row in rows)]


def adjusted_by(connection: Connection, period_id: int) -> list[int]:
    """The final periods whose invoices hold adjustments of this one, in the order of their ids."""
    rows = connection.execute(
        "SELECT DISTINCT booked_period_id FROM fleetmeter.late_usage JOIN fleetmeter.contract_period "
        "AS booked ON booked.period_id = booked_period_id WHERE late_usage.period_id = %s "
        "AND late_usage.period_id <> booked_period_id AND phase = 'final' ORDER BY 1",
        (period_id,),
    ).fetchall()
    return [row[0] for row in rows]
