"""`fleetmeter quarantine`: what was set aside, and why."""

from itertools import islice
from typing import Annotated

import typer

from fleetmeter_cli.amount import number
from fleetmeter_cli.problem import told
from fleetmeter_cli.region_api import region_api
from fleetmeter_cli.table import Output, OutputOption, console, moment, show, show_json

app = typer.Typer(help="See what was not billed, with its reason.", no_args_is_help=True)


@app.command("list")
def list_quarantine(
    context: typer.Context,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only this reason, like unknown_device.")
    ] = None,
    billing_period: Annotated[
        str | None, typer.Option("--billing-period", help="Only this period, like eu-202301.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows at most.")] = 50,
    output: OutputOption = Output.table,
) -> None:
    """Count what was set aside by reason, and list the oldest of it.

    Example: fleetmeter --region eu quarantine list --reason unknown_device
    """
    with told(), region_api(context) as api:
        counts = api.get("/v1/quarantine", limit="1")["counts"]
        rows = api.pages("/v1/quarantine", "quarantine", reason=reason, billingPeriod=billing_period)
        found = list(islice(rows, limit))
    if output is Output.json:
        show_json({"counts": counts, "quarantine": found})
        return
    show(
        ("Reason", "Waiting"),
        [(code, number(count)) for code, count in sorted(counts.items(), key=lambda pair: -pair[1])],
        right=("Waiting",),
        empty="Nothing is set aside.",
    )
    if not found:
        return
    console().print()
    show(
        ("Id", "Received (UTC)", "Reason", "Device", "Period", "Detail"),
        [
            (
                str(each["id"]),
                moment(each["receivedAt"]),
                each["reason"],
                each["device"] or "",
                each["billingPeriod"] or "",
                each["detail"],
            )
            for each in found
        ],
        empty="",
    )
