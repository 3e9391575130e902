"""Usage: what was billed so far, by customer, contract, billing period and metric."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec
from starlette.responses import Response

from fleetmeter_api.region import Metric
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import plain
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import periods, readings, usage
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.usage import UsageRow
from fleetmeter_workers.metering.measure import Consumption, Measured, measured, read_metrics

_MOST_ROWS: Final = 10_000
_MOST_READINGS: Final = 200_000
"""More readings than this are not measured for an answer; that takes some seconds."""

_Place: TypeAlias = tuple[str, str, str, str, datetime | None]
"""Customer, contract, billing period, metric, and the UTC day where days were asked for."""


class UsageEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Billed usage; `quantity` is a decimal string, `day` a UTC day where days were asked for.

    Of a metric that is read, a register or a level, `quantity` is what the readings so far amount to; null
    where there are too many for an answer: ask for one customer or one billing period.
    """

    customer: str
    contract: str
    billing_period: str
    metric: str
    events: int
    late: int
    quantity: str | None
    day: str | None = None


class UsageList(msgspec.Struct, frozen=True, rename="camel"):
    """Usage, and whether there is more than was answered."""

    usage: list[UsageEntry]
    truncated: bool


def list_usage(call: Call) -> Response:
    """GET /v1/usage."""
    by = call.text("by")
    if by not in (None, "day"):
        raise RefusalError(400, "by can only be day", "Leave it out for one row a billing period.")
    customer, billing_period = call.text("customer"), call.text("billingPeriod")
    read = read_metrics(call.parts.region)
    with call.parts.ledger.connection() as connection:
        found = usage.report(
            connection,
            customer=customer,
            billing_period=billing_period,
            by_day=by == "day",
            limit=_MOST_ROWS + 1,
        )
        rows = found[:_MOST_ROWS]
        quantities: dict[_Place, Decimal] = {}
        shown = [row for row in rows if row.metric in read]
        if shown and sum(row.events for row in shown) <= _MOST_READINGS:
            numbers = readings.periods_with(connection, sorted(read), customer, billing_period)
            billed = periods.of_ids(connection, numbers)
            quantities = _measured(connection, read, billed, by_day=by == "day")
    entries = [_entry(row, quantities, row.metric in read) for row in rows]
    return json_response(UsageList(entries, truncated=len(found) > _MOST_ROWS))


def _entry(row: UsageRow, quantities: dict[_Place, Decimal], read: bool) -> UsageEntry:
    quantity = quantities.get(_place(row)) if read else row.quantity
    return UsageEntry(
        customer=row.customer,
        contract=row.contract,
        billing_period=row.billing_period,
        metric=row.metric,
        events=row.events,
        late=row.late,
        quantity=None if quantity is None else plain(quantity),
        day=None if row.day is None else row.day.date().isoformat(),
    )


def _place(row: UsageRow) -> _Place:
    return row.customer, row.contract, row.billing_period, row.metric, row.day


def _measured(
    connection: Connection, read: dict[str, Metric], billed: Iterable[ContractPeriod], *, by_day: bool
) -> dict[_Place, Decimal]:
    """The quantities of metrics that are read, by the rule of the invoice."""
    found: dict[_Place, Decimal] = defaultdict(Decimal)
    with connection.transaction():
        for period in billed:
            for one in measured(connection, read, period):
                for day, quantity in _by_day(one) if by_day else [(None, _whole(one))]:
                    place = (period.customer, period.contract, period.billing_period, one.metric, day)
                    found[place] += quantity
    return found


def _whole(one: Measured) -> Decimal:
    """What the period's readings amount to, with those that came late for earlier ones."""
    if isinstance(one, Consumption):
        return sum((step.consumed for step in (*one.steps, *one.late_steps)), Decimal(0))
    return one.own()


def _by_day(one: Measured) -> Sequence[tuple[datetime, Decimal]]:
    """The consumption of each UTC day with a reading, or its level."""
    if isinstance(one, Consumption):
        return [(_day(step.at), step.consumed) for step in (*one.steps, *one.late_steps)]
    days = {_day(reading.at) for reading in one.readings}
    return [(day, one.own(Bounds(day, day + timedelta(days=1), day.date()))) for day in sorted(days)]


def _day(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
