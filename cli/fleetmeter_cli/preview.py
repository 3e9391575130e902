"""`fleetmeter preview`: what files of device messages would be billed, on this machine alone."""

import json
import zlib
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fleetmeter_api.plan import PlanDocument
from fleetmeter_cli.preview_input import InputError, read_plan, read_region, read_registry
from fleetmeter_cli.trace import read_lines
from fleetmeter_cli.trial import Place, Setting, Tally, Trial, adapter_of_lines
from fleetmeter_rules.calendar import Bounds, Calendar
from fleetmeter_rules.contracts import Defaults, defaults_of
from fleetmeter_rules.number import plain
from fleetmeter_rules.pricing import NoPriceError, price, version_for
from fleetmeter_rules.rounding import UnknownCurrencyError, minor_units, money, round_amount

_GRACE = timedelta(hours=72)


class Adapter(StrEnum):
    """The platforms that messages come from."""

    CHIRPSTACK = "chirpstack"
    HELIUM = "helium"
    JSON = "json"


class Output(StrEnum):
    """How the result is shown."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Priced:
    """One charge of a customer's period at the plan's prices."""

    customer: str
    period: str
    charge: str
    quantity: Decimal
    amount: Decimal | None
    note: str = ""


File = Annotated[
    list[Path], typer.Argument(help="Files of one message a line, plain or .gz.", exists=True, dir_okay=False)
]


def preview(
    files: File,
    adapter: Annotated[
        Adapter | None, typer.Option(help="The platform they come from; told by the first line if left out.")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA zone of the periods. [default: UTC]")] = None,
    anchor_day: Annotated[int | None, typer.Option(help="Day that starts a period. [default: 1]")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="Devices and customers, NDJSON.", exists=True, dir_okay=False)
    ] = None,
    region: Annotated[
        Path | None,
        typer.Option(help="BillingRegion YAML: its calendar, metrics, classes, late usage.", exists=True),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="PricingPlan YAML, to see amounts too.", exists=True, dir_okay=False)
    ] = None,
    plan_name: Annotated[str | None, typer.Option(help="Which plan, if the file holds several.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json.")] = Output.TABLE,
    decisions: Annotated[
        Path | None,
        typer.Option(help="Write what became of each message to this NDJSON file.", dir_okay=False),
    ] = None,
    received_field: Annotated[
        str, typer.Option(help="Field with the receive time: milliseconds since 1970, or RFC 3339.")
    ] = "_timestamp",
) -> None:
    """Show what files of device messages would be billed. Needs no cluster, no Kafka and no database.

    Copies of a message are found, times resolved, owners and periods looked up as in a region. What would not
    be billed is counted with its reason.
    """
    console = Console(stderr=True)
    try:
        prices = None if plan is None else read_plan(plan, plan_name)
        if prices is not None:
            minor_units(prices.spec.currency)
        trial = Trial(_setting(region, registry, prices, time_zone, anchor_day))
        _run(trial, files, adapter, received_field, decisions, console)
    except (InputError, UnknownCurrencyError, ValueError, OSError, EOFError, zlib.error) as error:
        console.print(f"[red]fleetmeter preview:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("stopped; nothing was billed, a preview changes nothing")
        raise typer.Exit(130) from None
    priced = [] if prices is None else _priced(trial, prices)
    if output is Output.JSON:
        typer.echo(json.dumps(document(trial, prices, priced), indent=2, ensure_ascii=False))
    else:
        _print_tables(trial, prices, priced)


def _setting(
    region: Path | None,
    registry: Path | None,
    plan: PlanDocument | None,
    time_zone: str | None,
    anchor_day: int | None,
) -> Setting:
    devices = None if registry is None else read_registry(registry)
    charged = frozenset(c.metric for v in plan.spec.versions for c in v.charges) if plan is not None else None
    if region is None:
        terms = Defaults(Calendar(time_zone or "UTC", "Month", anchor_day or 1), _GRACE, "Grace")
        return Setting(terms, devices, metrics=charged)
    spec = read_region(region)
    own = defaults_of(spec)
    calendar = Calendar(
        time_zone or own.calendar.zone, own.calendar.interval, anchor_day or own.calendar.anchor_day
    )
    metrics = frozenset(metric.code for metric in spec.metrics)
    return Setting(Defaults(calendar, own.grace, own.late_usage), devices, spec.all_device_classes(), metrics)


def _run(
    trial: Trial,
    files: list[Path],
    adapter: Adapter | None,
    received_field: str,
    decisions: Path | None,
    console: Console,
) -> None:
    """Take every line of every file, with a bar; write the decisions as they fall."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[read]:,} messages"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with ExitStack() as open_until_the_end:
        out = None if decisions is None else open_until_the_end.enter_context(decisions.open("w"))
        open_until_the_end.enter_context(bar)
        for path in files:
            first = islice((line.raw for line in read_lines(path, received_field)), 100)
            platform = adapter.value if adapter is not None else adapter_of_lines(first)
            task = bar.add_task(f"{path.name} ({platform})", total=path.stat().st_size, read=0)
            _run_file(trial, path, platform, received_field, out, bar, task)


def _run_file(
    trial: Trial,
    path: Path,
    platform: str,
    received_field: str,
    out: IO[str] | None,
    bar: Progress,
    task: Any,
) -> None:
    number = 0
    for number, line in enumerate(read_lines(path, received_field), start=1):
        decision = trial.take(platform, line.raw, line.received)
        if out is not None:
            out.write(json.dumps(decision.document(number, path.name), ensure_ascii=False) + "\n")
        if number % 500 == 0:
            bar.update(task, completed=line.position, read=number)
    bar.update(task, completed=path.stat().st_size, read=number)


def _priced(trial: Trial, plan: PlanDocument) -> list[Priced]:
    """Every charge of the plan for each customer's periods."""
    months: dict[tuple[str, str], dict[str, Tally]] = defaultdict(dict)
    for place, tally in trial.tallies.items():
        if tally.events:
            months[place.customer, place.period][place.metric] = tally
    return [
        line
        for (customer, period), tallies in sorted(months.items())
        for line in _charged(customer, period, tallies, plan)
    ]


def _charged(customer: str, period: str, tallies: dict[str, Tally], plan: PlanDocument) -> list[Priced]:
    bounds: Bounds = next(iter(tallies.values())).bounds
    try:
        version = version_for(plan.spec, bounds)
    except NoPriceError as error:
        return [Priced(customer, period, "", Decimal(0), None, str(error))]
    lines: list[Priced] = []
    for charge in version.charges:
        tally = tallies.get(charge.metric)
        quantity = Decimal(0) if tally is None else tally.quantity
        if charge.measure == "ActiveDevices":
            quantity = Decimal(0 if tally is None else len(tally.devices))
        amount = round_amount(price(charge, quantity).exact, plan.spec.currency)
        lines.append(Priced(customer, period, charge.name, quantity, amount))
    return lines


def document(trial: Trial, plan: PlanDocument | None, priced: list[Priced]) -> dict[str, Any]:
    """The result as JSON values; quantities and amounts are decimal strings."""
    found: dict[str, Any] = {
        "read": trial.read,
        "unusable": trial.unusable.total(),
        "periods": [_period_document(place, trial.tallies[place]) for place in sorted(trial.tallies)],
    }
    if plan is not None:
        found["currency"] = plan.spec.currency
        found["amounts"] = [
            {
                "customer": line.customer,
                "period": line.period,
                "charge": line.charge,
                "quantity": plain(line.quantity),
                "amount": None if line.amount is None else money(line.amount, plan.spec.currency),
            }
            for line in priced
        ]
    return found


def _period_document(place: Place, tally: Tally) -> dict[str, Any]:
    return {
        "customer": place.customer,
        "metric": place.metric,
        "period": place.period,
        "events": tally.events,
        "duplicates": tally.duplicates,
        "late": tally.late,
        "quarantined": dict(sorted(tally.quarantined.items())),
        "quantity": plain(tally.quantity),
    }


def _print_tables(trial: Trial, plan: PlanDocument | None, priced: list[Priced]) -> None:
    console = Console()
    table = _table("Would be billed", "Customer", "Metric", "Period")
    for name in ("Events", "Quantity", "Copies", "Late"):
        table.add_column(name, justify="right")
    if any(tally.quarantined for tally in trial.tallies.values()):
        table.add_column("Set aside", no_wrap=True)
    for place in sorted(trial.tallies):
        tally = trial.tallies[place]
        aside = "\n".join(f"{count:,} {reason}" for reason, count in sorted(tally.quarantined.items()))
        counts = (f"{tally.events:,}", plain(tally.quantity), f"{tally.duplicates:,}", f"{tally.late:,}")
        row = (place.customer, place.metric, place.period, *counts, aside)
        table.add_row(*row[: len(table.columns)])
    console.print(table)
    if plan is not None:
        console.print(_amounts(priced, plan))
    useless = ", ".join(f"{count:,} {reason}" for reason, count in sorted(trial.unusable.items()))
    console.print(
        f"{trial.read:,} messages read" + (f"; no usage: {useless}" if useless else ""), highlight=False
    )


def _amounts(priced: list[Priced], plan: PlanDocument) -> Table:
    table = _table(f"At the prices of {plan.name}", "Customer", "Period", "Charge")
    table.add_column("Quantity", justify="right")
    table.add_column(plan.spec.currency, justify="right")
    for line in priced:
        amount = line.note if line.amount is None else money(line.amount, plan.spec.currency)
        table.add_row(line.customer, line.period, line.charge, plain(line.quantity), amount)
    return table


def _table(title: str, *columns: str) -> Table:
    """A plain table that a pipe and a narrow terminal show whole."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
