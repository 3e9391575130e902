"""The `fleetmeter-worker` command: one subcommand a stage, imported only when it runs."""

from importlib import import_module
from typing import Annotated

import typer

from fleetmeter_workers.settings import SettingsError

app = typer.Typer(
    name="fleetmeter-worker",
    help="The stages of a region's line. Settings come from the environment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _run(module: str, *arguments: str) -> None:
    try:
        status = import_module(module).run(*arguments)
    except SettingsError as error:
        typer.echo(f"fleetmeter-worker: {error}", err=True)
        raise typer.Exit(64) from None
    raise typer.Exit(status or 0)


@app.command()
def migrate() -> None:
    """Make or update the ledger's schema and roles and the Kafka topic; safe to run again."""
    _run("fleetmeter_workers.ledger.migrate")


@app.command()
def gateway() -> None:
    """Take device messages in by MQTT and HTTP and put them into Kafka."""
    _run("fleetmeter_workers.gateway.main")


@app.command()
def consumer() -> None:
    """Decide each message of the topic once and write it to the ledger."""
    _run("fleetmeter_workers.consumer.main")


@app.command()
def close(
    billing_period: Annotated[
        str, typer.Option(help="Name of the billing period to seal, for example eu-202301.")
    ],
) -> None:
    """Seal a billing period and write its invoices. 0 final, 75 not yet sealable, 65 data error."""
    _run("fleetmeter_workers.close.main", billing_period)


@app.command()
def api() -> None:
    """Serve the region's API and its status."""
    _run("fleetmeter_workers.api.main")


def main() -> None:
    """Entry point of the console script."""
    app()
