"""`fleetmeter usage`: what was billed so far."""

from typing import Annotated

import typer

from fleetmeter_cli.amount import number
from fleetmeter_cli.problem import told
from fleetmeter_cli.region_api import region_api
from fleetmeter_cli.table import Output, OutputOption, show, show_json


def show_usage(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option("--customer", help="Only this customer's.")] = None,
    billing_period: Annotated[
        str | None, typer.Option("--billing-period", help="Only this period, like eu-202301.")
    ] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="One row a UTC day.")] = False,
    output: OutputOption = Output.table,
) -> None:
    """Show billed usage by customer, contract, period and metric.

    Example: fleetmeter --region eu usage --customer acme --by-day
    """
    with told(), region_api(context) as api:
        found = api.get(
            "/v1/usage", customer=customer, billingPeriod=billing_period, by="day" if by_day else None
        )
    if output is Output.json:
        show_json(found)
        return
    days = ("Day",) if by_day else ()
    show(
        ("Period", *days, "Customer", "Contract", "Metric", "Quantity", "Events", "Late"),
        [
            (
                each["billingPeriod"],
                *((each["day"],) if by_day else ()),
                each["customer"],
                each["contract"],
                each["metric"],
                "too many" if each["quantity"] is None else number(each["quantity"]),
                number(each["events"]),
                number(each["late"]),
            )
            for each in found["usage"]
        ],
        right=("Quantity", "Events", "Late"),
        empty="No usage yet.",
    )
    if any(each["quantity"] is None for each in found["usage"]):
        typer.echo("Too many readings to measure at once: name a customer or a billing period.", err=True)
    if found["truncated"]:
        typer.echo("There is more: name a customer or a billing period.", err=True)
