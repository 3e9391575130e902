"""Readings: the billed rows of metrics that are read and not added up, with what lies around them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeAlias

from fleetmeter_rules.metering import Reading
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod

Key: TypeAlias = tuple[int, str, str]
"""A device's number, a metric's code and a register, empty for the only one."""

_PAGE: Final = 5_000

_COLUMNS: Final = (
    "SELECT device_id, alias, code, contract_period.customer_id, starts_at, event_at, quantity, "
    "coalesce(register, '') AS register, received_at, coalesce(due_at, cutoff_at) AS booked_at, "
    "booked.revision = 0 AS late FROM fleetmeter.booked_event AS booked "
    "JOIN fleetmeter.contract_period USING (period_id) JOIN fleetmeter.device USING (device_id) "
    "JOIN fleetmeter.metric USING (metric_id) LEFT JOIN fleetmeter.reading_register USING (event_key) "
    "LEFT JOIN fleetmeter.reopening ON reopening.period_id = booked.period_id "
    "AND reopening.revision = booked.revision "
)
_OF_PERIOD: Final = (
    _COLUMNS
    + "WHERE booked.period_id = %s AND booked.revision <= %s AND code = ANY(%s) "
    + 'ORDER BY device_id, code COLLATE "C", event_at, register, quantity'
)
_WANTED: Final = (
    "JOIN unnest(%(devices)s::int4[], %(metrics)s::text[], %(registers)s::text[], %(since)s::timestamptz[]) "
    "AS wanted (device, metric, counter, since) "
    "ON device_id = device AND code = metric AND coalesce(register, '') = counter "
)
_IN_SIGHT: Final = (
    "WHERE booked.period_id = %(period)s "
    "AND (received_at < %(closed)s OR coalesce(due_at, cutoff_at) <= %(closed)s) "
)
_SEEN: Final = _IN_SIGHT + "AND booked.revision > 0 AND booked.device_id = ANY(%(devices)s) "
_DEFERRED: Final = (
    _COLUMNS  # noqa: S608  constants only
    + "WHERE booked.revision = 0 AND booked.event_key IN ("
    + "SELECT event_key FROM fleetmeter.late_usage WHERE booked_period_id = ANY(%(periods)s) "
    "AND quarantine_id IS NULL AND device_id = ANY(%(devices)s)) "
    "AND (received_at < %(closed)s OR cutoff_at <= %(closed)s)"
)
_CLOSING: Final = (
    'SELECT DISTINCT ON (device_id, code COLLATE "C", register) * FROM ('  # noqa: S608  constants only
    + _COLUMNS
    + _IN_SIGHT
    + "AND booked.revision > 0 AND code = ANY(%(metrics)s)) AS own "
    + 'ORDER BY device_id, code COLLATE "C", register, event_at DESC, quantity DESC'
)
_SINCE: Final = (
    _COLUMNS
    + _WANTED
    + _SEEN
    + "AND event_at >= since AND (event_at < %(until)s OR coalesce(due_at, cutoff_at) < %(closed)s)"
)
_LAST_BEFORE: Final = (
    "SELECT DISTINCT ON (device_id, code, register) * FROM ("  # noqa: S608  constants only
    + _COLUMNS
    + _WANTED
    + _SEEN
    + "AND event_at < since) AS earlier ORDER BY device_id, code, register, event_at DESC, quantity DESC"
)
_OTHER_PERIODS: Final = (
    "SELECT period_id, starts_at, ends_at, cutoff_at, customer_id FROM fleetmeter.contract_period "
    "WHERE customer_id IN (SELECT customer_id FROM fleetmeter.device_binding "
    "WHERE device_id = ANY(%(devices)s) "
    "UNION SELECT customer_id FROM fleetmeter.contract_period WHERE period_id = %(period)s) "
    "AND period_id <> %(period)s AND (starts_at < %(until)s OR starts_at < %(closed)s) "
    "ORDER BY ends_at DESC, contract"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A billed reading.

    `booked_at`: the cut-off by which the invoice that bills it is closed, so that the rows alone tell what is
    billed before what, not the order in which closes ran. `late`: it belongs to an earlier period than that
    invoice's. `period_start`: that of the period which bills it.
    """

    device_id: int
    alias: str
    metric: str
    customer_id: int
    period_start: datetime
    reading: Reading
    received_at: datetime
    booked_at: datetime
    late: bool

    @property
    def key(self) -> Key:
        """Whose reading it is."""
        return self.device_id, self.metric, self.reading.segment

    def seen_at(self, closed: datetime) -> bool:
        """Whether an invoice that is closed then was drawn up with this reading in sight."""
        return self.received_at < closed or self.booked_at <= closed


@dataclass(frozen=True, slots=True)
class Span:
    """What a look at other readings is limited to: what was in sight of an invoice that closes at `closed`,
    before `until` or billed before that one, in the periods of the customers who ever owned the device."""

    until: datetime
    closed: datetime
    owners: Mapping[int, Collection[int]]

    def holds(self, other: "Other", key: Key) -> bool:
        """Whether the period may have readings of this register."""
        if other.starts_at >= self.until and other.cutoff_at >= self.closed:
            return False
        return other.customer_id in self.owners.get(key[0], ())

    def wants(self, row: "Row") -> bool:
        """Whether a reading in sight tells anything."""
        return row.reading.at < self.until or row.booked_at < self.closed


@dataclass(frozen=True, slots=True)
class Other:
    """Another contract period in which a device's readings may lie."""

    period_id: int
    starts_at: datetime
    ends_at: datetime
    cutoff_at: datetime
    customer_id: int


@dataclass(frozen=True, slots=True)
class Scale:
    """From a reading on a unit of the register is this many of its first ones."""

    device_id: int
    metric: str
    register: str
    read_at: datetime
    scale: Decimal


def of_period(connection: Connection, period: ContractPeriod, metrics: Sequence[str]) -> Iterator[Row]:
    """The readings of these metrics that the period's invoices up to its revision bill, by device, metric and
    time; inside a transaction."""
    # All rows are read: a plan for the first tenth would join each device with the whole period.
    connection.execute("SET LOCAL cursor_tuple_fraction = 1")
    with connection.cursor(name="readings") as cursor:
        cursor.itersize = _PAGE
        cursor.execute(_OF_PERIOD, (period.period_id, period.revision, list(metrics)))
        for row in cursor:
            yield _row(*row)


def closing(connection: Connection, other: Other, metrics: Sequence[str], closed: datetime) -> Iterator[Row]:
    """The last reading of each register in another period, of what was in sight at `closed`, by device and
    metric; inside a transaction."""
    wanted = {"period": other.period_id, "metrics": list(metrics), "closed": closed}
    with connection.cursor(name="closing") as cursor:
        cursor.itersize = _PAGE
        cursor.execute(_CLOSING, wanted)
        for row in cursor:
            yield _row(*row)


def before(connection: Connection, period: ContractPeriod) -> Other | None:
    """The customer's contract period that ended last when this one began."""
    row = connection.execute(
        "SELECT period_id, starts_at, ends_at, cutoff_at, customer_id FROM fleetmeter.contract_period "
        "WHERE customer_id = (SELECT customer_id FROM fleetmeter.contract_period WHERE period_id = %s) "
        "AND ends_at <= %s ORDER BY ends_at DESC, contract LIMIT 1",
        (period.period_id, period.starts_at),
    ).fetchone()
    return None if row is None else Other(*row)


def owners(
    connection: Connection, period: ContractPeriod, devices: Iterable[int]
) -> dict[int, frozenset[int]]:
    """The customers who ever owned each device; the period's customer did."""
    rows = connection.execute(
        "SELECT device_id, array_agg(customer_id) || (SELECT customer_id FROM fleetmeter.contract_period "
        "WHERE period_id = %s) FROM fleetmeter.device_binding WHERE device_id = ANY(%s) GROUP BY device_id",
        (period.period_id, list(devices)),
    ).fetchall()
    return {device: frozenset(customers) for device, customers in rows}


def periods_with(
    connection: Connection, metrics: Sequence[str], customer: str | None, billing_period: str | None
) -> list[int]:
    """The contract periods that have readings of these metrics, from the hours."""
    rows = connection.execute(
        "SELECT DISTINCT period_id FROM fleetmeter.usage_hour "
        "JOIN fleetmeter.contract_period USING (period_id) JOIN fleetmeter.customer USING (customer_id) "
        "JOIN fleetmeter.metric USING (metric_id) WHERE metric.code = ANY(%(metrics)s) "
        "AND (%(customer)s::text IS NULL OR customer.code = %(customer)s) "
        "AND (%(billing_period)s::text IS NULL OR billing_period = %(billing_period)s) ORDER BY period_id",
        {"metrics": list(metrics), "customer": customer, "billing_period": billing_period},
    ).fetchall()
    return [row[0] for row in rows]


def other_periods(connection: Connection, period: ContractPeriod, span: Span) -> list[Other]:
    """The other contract periods of the devices' owners that the span may touch, the last one first."""
    wanted = {
        "devices": list(span.owners),
        "period": period.period_id,
        "until": span.until,
        "closed": span.closed,
    }
    return [Other(*row) for row in connection.execute(_OTHER_PERIODS, wanted).fetchall()]


def since(
    connection: Connection, others: Sequence[Other], starts: Mapping[Key, datetime], span: Span
) -> dict[Key, list[Row]]:
    """What the other periods hold of each register from its start on, apart from what was deferred."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for other in others:
        wanted = {key: at for key, at in starts.items() if at < other.ends_at and span.holds(other, key)}
        for row in _ask(connection, _SINCE, other, wanted, span):
            found[row.key].append(row)
    return found


def openings(
    connection: Connection,
    others: Sequence[Other],
    starts: Mapping[Key, datetime],
    span: Span,
    known: Mapping[Key, Row],
) -> dict[Key, Row]:
    """The last reading of each register before its start; `known`: the last ones of what is not asked.

    The periods are asked from the last one backwards, each only for registers of which it may hold a later
    one than was found.
    """
    found: dict[Key, Row] = dict(known)
    for other in others:
        wanted = {
            key: at
            for key, at in starts.items()
            if other.starts_at < at
            and span.holds(other, key)
            and (key not in found or found[key].reading.at < other.ends_at)
        }
        for row in _ask(connection, _LAST_BEFORE, other, wanted, span):
            if row.key not in found or _order(found[row.key]) < _order(row):
                found[row.key] = row
    return found


def deferred(
    connection: Connection, others: Sequence[Other], starts: Mapping[Key, datetime], span: Span
) -> dict[Key, list[Row]]:
    """Readings of these registers that came late and are billed by other periods than their own, by time."""
    wanted = {
        "periods": [other.period_id for other in others],
        "devices": list({device for device, _, _ in starts}),
        "closed": span.closed,
    }
    found: dict[Key, list[Row]] = defaultdict(list)
    for columns in connection.execute(_DEFERRED.encode(), wanted, prepare=False).fetchall():
        row = _row(*columns)
        if row.key in starts:
            found[row.key].append(row)
    return {key: sorted(own, key=_order) for key, own in found.items()}


def add_registers(connection: Connection, registers: Mapping[bytes, str]) -> None:
    """Keep which register these new events were read on, by event key."""
    connection.execute(
        "INSERT INTO fleetmeter.reading_register (event_key, register) "
        "SELECT * FROM unnest(%s::text[]::uuid[], %s::text[]) ON CONFLICT (event_key) DO NOTHING",
        ([key.hex() for key in registers], list(registers.values())),
    )


def scales(connection: Connection, devices: Iterable[int]) -> dict[Key, list[Scale]]:
    """Where the units of these devices' registers have slipped, by time."""
    rows = connection.execute(
        "SELECT device_id, code, register, read_at, scale FROM fleetmeter.register_scale "
        "JOIN fleetmeter.metric USING (metric_id) WHERE device_id = ANY(%s) ORDER BY read_at",
        (list(devices),),
    ).fetchall()
    found: dict[Key, list[Scale]] = defaultdict(list)
    for row in rows:
        scale = Scale(*row)
        found[scale.device_id, scale.metric, scale.register].append(scale)
    return found


def add_scales(connection: Connection, period_id: int, slips: Sequence[Scale]) -> None:
    """Keep the slips of units that a period was billed by."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleetmeter.register_scale "
            "(period_id, device_id, metric_id, register, read_at, scale) "
            "SELECT %s, %s, metric_id, %s, %s, %s FROM fleetmeter.metric WHERE code = %s "
            "ON CONFLICT (device_id, metric_id, register, read_at) DO NOTHING",
            [(period_id, s.device_id, s.register, s.read_at, s.scale, s.metric) for s in slips],
        )


def _ask(
    connection: Connection, query: str, other: Other, starts: Mapping[Key, datetime], span: Span
) -> list[Row]:
    if not starts:
        return []
    wanted = {
        "period": other.period_id,
        "devices": [device for device, _, _ in starts],
        "metrics": [metric for _, metric, _ in starts],
        "registers": [register for _, _, register in starts],
        "since": list(starts.values()),
        "until": span.until,
        "closed": span.closed,
    }
    # A prepared plan would not know how few devices are meant, and read the whole period for each.
    return [_row(*row) for row in connection.execute(query.encode(), wanted, prepare=False).fetchall()]


def _order(row: Row) -> tuple[datetime, Decimal]:
    return row.reading.at, row.reading.value


def _row(
    device_id: int,
    alias: str,
    metric: str,
    customer_id: int,
    period_start: datetime,
    event_at: datetime,
    quantity: Decimal,
    register: str,
    received_at: datetime,
    booked_at: datetime,
    late: bool,
) -> Row:
    reading = Reading(event_at, quantity, register)
    return Row(device_id, alias, metric, customer_id, period_start, reading, received_at, booked_at, late)
