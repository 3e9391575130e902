"""`fleetmeter completeness`: messages that devices counted and that did not arrive, and silent devices."""

import json
from itertools import islice
from typing import Annotated, Any

import typer

from fleetmeter_cli.amount import number
from fleetmeter_cli.problem import told
from fleetmeter_cli.region_api import RegionApi, region_api
from fleetmeter_cli.review import ContractOption, PeriodOption
from fleetmeter_cli.table import Output, OutputOption, console, show, show_json

app = typer.Typer(
    help="See which usage of a period is missing before it is billed, or take it as it is.",
    no_args_is_help=True,
)


@app.command("list")
def list_completeness(
    context: typer.Context,
    billing_period: PeriodOption,
    contract: ContractOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many devices at most.")] = 50,
    output: OutputOption = Output.table,
) -> None:
    """Count what devices counted and what is held, and list gaps and silent devices.

    A gap counts in the period of the number behind it; LoRaWAN devices also count frames without usage.

    A silent device is the customer's, registered and under contract, and nothing came from it.

    Example: fleetmeter --region eu completeness list --billing-period eu-202301
    """
    with told(), region_api(context) as api:
        periods, found = _read(api, limit, billingPeriod=billing_period, contract=contract)
    if output is Output.json:
        show_json({"periods": periods, "devices": found})
        return
    show(
        ("Contract", "Counted", "Held", "Missing", "Silent devices", "Incomplete usage"),
        [
            (
                each["contract"],
                number(each["counted"]),
                number(each["held"]),
                number(each["missing"]),
                number(each["silentDevices"]),
                f"{each['incompleteUsage']}{', waits' if each['waits'] else ''}",
            )
            for each in periods
        ],
        right=("Counted", "Held", "Missing", "Silent devices"),
        empty=f"{billing_period} has no contract period yet.",
    )
    if not found:
        return
    console().print()
    show(
        ("Contract", "Device", "Epoch or session", "What"),
        [(each["contract"], each["device"], each["epoch"], each["summary"]) for each in found],
        empty="",
    )


@app.command("accept")
def accept(context: typer.Context, billing_period: PeriodOption, contract: ContractOption = None) -> None:
    """Take a period as it is: it no longer waits for what is missing now. Safe to repeat.

    Should more turn out to be missing before it is sealed, it waits again.

    Example: fleetmeter --region eu completeness accept --billing-period eu-202301
    """
    wish = {"billingPeriod": billing_period} | ({} if contract is None else {"contract": contract})
    with told(), region_api(context) as api:
        done = api.post("/v1/completeness/accept", json.dumps(wish).encode())
    typer.echo(
        f"{number(done['taken'])} contract periods taken as they are:"
        f" {number(done['missing'])} messages missing, {number(done['silentDevices'])} devices silent."
    )


def _read(
    api: RegionApi, limit: int, **query: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All contract periods, and the first findings in them."""
    periods: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = api.get("/v1/completeness", after=after, **query)
        periods += page["periods"]
        found += islice(page["devices"], limit - len(found))
        after = page["next"]
        if after is None:
            return periods, found
