"""Usage and duplicates by the hour: sums kept beside the rows, for dashboards and the seal."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from fleetmeter_workers.ledger.database import Connection

HourKey: TypeAlias = tuple[int, int, datetime]
"""Period id, metric id and the hour of event time."""


class HourSum(NamedTuple):
    """What was billed in an hour. Of a metric that is read, a register or a level, `quantity` is the sum of
    the readings: it proves the rows complete, and is no amount."""

    events: int
    late: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class MetricSum:
    """Events and quantity of one metric in a contract period."""

    metric: str
    events: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A line of the usage report: a customer's usage of a metric in a billing period, and by day if asked."""

    customer: str
    contract: str
    billing_period: str
    metric: str
    day: datetime | None
    events: int
    late: int
    quantity: Decimal


def add_hours(connection: Connection, sums: dict[HourKey, HourSum]) -> None:
    """Add to the hours, in key order, so that two consumers never wait for each other in a circle."""
    ordered = sorted(sums.items())
    connection.execute(
        "INSERT INTO fleetmeter.usage_hour AS held (period_id, metric_id, hour, events, late, quantity) "
        "SELECT * FROM unnest(%s::int4[], %s::int2[], %s::timestamptz[], %s::int8[], %s::int8[], "
        "%s::numeric[]) "
        "ON CONFLICT (period_id, metric_id, hour) DO UPDATE SET events = held.events + excluded.events, "
        "late = held.late + excluded.late, quantity = held.quantity + excluded.quantity",
        (
            [period_id for (period_id, _, _), _ in ordered],
            [metric_id for (_, metric_id, _), _ in ordered],
            [hour for (_, _, hour), _ in ordered],
            [total.events for _, total in ordered],
            [total.late for _, total in ordered],
            [total.quantity for _, total in ordered],
        ),
    )


def add_duplicates(connection: Connection, counts: dict[tuple[int, datetime], int]) -> None:
    """Add copies by (customer id, hour of receipt)."""
    ordered = sorted(counts.items())
    connection.execute(
        "INSERT INTO fleetmeter.duplicate_hour AS held (customer_id, hour, duplicates) "
        "SELECT * FROM unnest(%s::int4[], %s::timestamptz[], %s::int8[]) "
        "ON CONFLICT (customer_id, hour) DO UPDATE SET duplicates = held.duplicates + excluded.duplicates",
        (
            [customer for (customer, _), _ in ordered],
            [hour for (_, hour), _ in ordered],
            [count for _, count in ordered],
        ),
    )


_BELONGING: Final = (
    "WITH chosen AS (SELECT metric_id FROM fleetmeter.metric WHERE code = %(metric)s) "
    "SELECT coalesce((SELECT sum(quantity) FROM fleetmeter.usage_hour JOIN chosen USING (metric_id) "
    "WHERE period_id = %(period)s), 0) + coalesce((SELECT sum(CASE period_id WHEN %(period)s THEN quantity "
    "ELSE -quantity END) FROM fleetmeter.late_usage JOIN chosen USING (metric_id) "
    "WHERE %(period)s IN (period_id, booked_period_id) AND period_id <> booked_period_id), 0)"
)


def metric_sums(connection: Connection, period_id: int) -> list[MetricSum]:
    """The period's sums by metric, from the hours."""
    rows = connection.execute(
        "SELECT code, sum(events)::bigint, sum(quantity) FROM fleetmeter.usage_hour "
        "JOIN fleetmeter.metric USING (metric_id) WHERE period_id = %s GROUP BY code ORDER BY code",
        (period_id,),
    ).fetchall()
    return [MetricSum(*row) for row in rows]


def belonging(connection: Connection, period_id: int, metric: str) -> Decimal:
    """The quantity of a metric that belongs to the period, wherever it is billed: what is booked in it, less
    what is booked in it for others, and what others booked for it."""
    row = connection.execute(_BELONGING, {"period": period_id, "metric": metric}).fetchone()
    if row is None:
        raise AssertionError("an aggregate has one row")
    return row[0]


def report(
    connection: Connection,
    customer: str | None = None,
    billing_period: str | None = None,
    *,
    by_day: bool = False,
    limit: int = 10_000,
) -> list[UsageRow]:
    """Usage by customer, contract, billing period and metric (and UTC day), from the hours."""
    rows = connection.execute(
        "SELECT customer.code, contract, billing_period, metric.code, "
        "CASE WHEN %(by_day)s THEN date_trunc('day', hour, 'UTC') END AS day, "
        "sum(events)::bigint, sum(late)::bigint, sum(quantity) "
        "FROM fleetmeter.usage_hour JOIN fleetmeter.contract_period USING (period_id) "
        "JOIN fleetmeter.customer USING (customer_id) JOIN fleetmeter.metric USING (metric_id) "
        "WHERE (%(customer)s::text IS NULL OR customer.code = %(customer)s) "
        "AND (%(billing_period)s::text IS NULL OR billing_period = %(billing_period)s) "
        "GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT %(limit)s",
        {"by_day": by_day, "customer": customer, "billing_period": billing_period, "limit": limit},
    ).fetchall()
    return [UsageRow(*row) for row in rows]
