"""Usage: what was billed so far, by customer, contract, billing period and metric."""

import msgspec
from starlette.responses import Response

from fleetmeter_rules.number import plain
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import usage

_MOST_ROWS = 10_000


class UsageEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Billed usage; `quantity` is a decimal string, `day` a UTC day where days were asked for."""

    customer: str
    contract: str
    billing_period: str
    metric: str
    events: int
    late: int
    quantity: str
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
    with call.parts.ledger.connection() as connection:
        rows = usage.report(
            connection,
            customer=call.text("customer"),
            billing_period=call.text("billingPeriod"),
            by_day=by == "day",
            limit=_MOST_ROWS + 1,
        )
    entries = [
        UsageEntry(
            customer=row.customer,
            contract=row.contract,
            billing_period=row.billing_period,
            metric=row.metric,
            events=row.events,
            late=row.late,
            quantity=plain(row.quantity),
            day=None if row.day is None else row.day.date().isoformat(),
        )
        for row in rows[:_MOST_ROWS]
    ]
    return json_response(UsageList(entries, truncated=len(rows) > _MOST_ROWS))
