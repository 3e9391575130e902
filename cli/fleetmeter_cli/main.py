"""The `fleetmeter` command: ask a region, and check contracts, plans and prices without one."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from fleetmeter_cli.commands import Commands
from fleetmeter_cli.target import Target

app = typer.Typer(
    name="fleetmeter",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "[bold]Exit codes[/]: 0 done, 1 refused or something wrong was found, 2 wrong usage,"
        " 69 the region cannot be reached."
    ),
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fleetmeter {version('fleetmeter')}")
        raise typer.Exit


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
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """Metered billing for device fleets.

    [bold]Ask a region[/] by name through kubectl, or by address:

        fleetmeter --region eu --token-file token invoices list

        fleetmeter --api http://127.0.0.1:8080 usage --billing-period eu-202301

    [bold]Check files[/] without any region:

        fleetmeter price plan.yaml --metric messages --quantity 1835
    """
    context.obj = Target(api=api, token_file=token_file, region=region, namespace=namespace)
