"""The `fleetmeter` command: ask a region, and check contracts, plans and prices without one."""

from pathlib import Path
from typing import Annotated

import typer

from fleetmeter_cli import (
    backfill,
    completeness,
    contracts,
    devices,
    invoices,
    plans,
    price,
    quarantine,
    review,
    usage,
)
from fleetmeter_cli.load import load
from fleetmeter_cli.preview import preview
from fleetmeter_cli.region_api import Target
from fleetmeter_cli.replay import replay
from fleetmeter_cli.simulate import simulate

app = typer.Typer(
    name="fleetmeter",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "[bold]Exit codes[/]: 0 done, 1 refused or something wrong was found, 2 wrong usage,"
        " 69 the region cannot be reached."
    ),
)


@app.callback()
def target(
    context: typer.Context,
    api: Annotated[
        str | None,
        typer.Option("--api", envvar="FLEETMETER_API", help="Address of the region's API, http(s)://…"),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", envvar="FLEETMETER_REGION", help="Region's name, reached through kubectl."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", envvar="FLEETMETER_NAMESPACE", help="Namespace of --region.")
    ] = "fleetmeter",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File with the bearer token; else FLEETMETER_TOKEN is read."),
    ] = None,
) -> None:
    """Metered billing for device fleets.

    [bold]Ask a region[/] by name through kubectl, or by address:

        fleetmeter --region eu --token-file token invoices list

        fleetmeter --api http://127.0.0.1:8080 usage --billing-period eu-202301

    [bold]Check files[/] without any region:

        fleetmeter price plan.yaml --metric messages --quantity 1835
    """
    context.obj = Target(api=api, token_file=token_file, region=region, namespace=namespace)


app.add_typer(invoices.app, name="invoices")
app.command("usage")(usage.show_usage)
app.add_typer(devices.app, name="devices")
app.add_typer(backfill.app, name="backfill")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(review.app, name="review")
app.add_typer(completeness.app, name="completeness")
app.add_typer(contracts.app, name="contracts")
app.add_typer(plans.app, name="plans")
app.command("price")(price.show_price)
app.command("preview")(preview)
app.command("load")(load)
app.command("replay")(replay)
app.command("simulate")(simulate)
