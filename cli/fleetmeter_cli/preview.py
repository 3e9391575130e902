"""`fleetmeter preview`: what files of device messages would be billed, on this machine alone."""

import json
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer import Argument, Option

from fleetmeter_api.plan import PlanDocument
from fleetmeter_cli.options import with_fields_of
from fleetmeter_cli.preview_input import InputError, read_metric, read_plan, read_region, read_registry
from fleetmeter_cli.preview_output import document, priced_of, print_tables
from fleetmeter_cli.table import Output, OutputOption
from fleetmeter_cli.trace import read_lines
from fleetmeter_cli.trial import Setting, Trial, adapter_of_lines
from fleetmeter_rules.calendar import Calendar
from fleetmeter_rules.contracts import Defaults
from fleetmeter_rules.rounding import UnknownCurrencyError, minor_units

_GRACE = timedelta(hours=72)


class Adapter(StrEnum):
    """The platforms that messages come from."""

    CHIRPSTACK = "chirpstack"
    HELIUM = "helium"
    JSON = "json"


def _file(text: str, *names: str) -> Any:
    return Option(*names, help=text, exists=True, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Basis:
    """What messages are billed by; each field is an option of the command."""

    region: Annotated[
        Path | None,
        _file(
            "BillingRegion YAML: its calendar, metrics, classes, grace and late usage.",
            "--region",
            "--region-file",
        ),
    ] = None
    registry: Annotated[Path | None, _file("Devices and customers, NDJSON.")] = None
    time_zone: Annotated[str | None, Option(help="IANA zone of the periods; the region's, or UTC.")] = None
    anchor_day: Annotated[int | None, Option(help="Day that starts a period; the region's, or 1.")] = None
    metric: Annotated[
        list[str] | None,
        Option(
            help="A metric and its kind: energy=Cumulative (a meter's readings; :rollover=1000000 if it "
            "starts again at 0 there, :sentinel=16777215 for a value to skip) or storage=Gauge:Max (a level; "
            "Max, Last or TimeWeighted). Others are Delta, amounts that add up. Repeat it for more.",
            metavar="CODE=KIND",
            show_default=False,
        ),
    ] = None
    plan: Annotated[Path | None, _file("PricingPlan YAML, to see amounts too.")] = None
    plan_name: Annotated[str | None, Option(help="Which plan, if the file holds several.")] = None

    def prices(self) -> PlanDocument | None:
        """The plan. Raises InputError, UnknownCurrencyError, OSError."""
        if self.plan is None:
            return None
        found = read_plan(self.plan, self.plan_name)
        minor_units(found.spec.currency)
        return found

    def setting(self, prices: PlanDocument | None) -> Setting:
        """What a trial bills by. Raises InputError, ValueError, OSError."""
        kinds = {metric.code: metric for metric in map(read_metric, self.metric or ())}
        if self.region is not None:
            found = read_region(self.region)
        else:
            charges = () if prices is None else (c for v in prices.spec.versions for c in v.charges)
            charged = None if prices is None else frozenset(charge.metric for charge in charges)
            found = Setting(Defaults(Calendar("UTC", "Month", 1), _GRACE, "Grace"), metrics=charged)
        cut = found.terms.calendar
        anchor = cut.anchor_day if self.anchor_day is None else self.anchor_day
        calendar = Calendar(self.time_zone or cut.zone, cut.interval, anchor)
        return replace(
            found,
            terms=replace(found.terms, calendar=calendar),
            registry=None if self.registry is None else read_registry(self.registry),
            kinds={**found.kinds, **kinds},
            metrics=None if found.metrics is None else found.metrics | kinds.keys(),
        )


@with_fields_of(Basis)
def preview(
    files: Annotated[
        list[Path], Argument(help="Files of one message a line, plain or .gz.", exists=True, dir_okay=False)
    ],
    adapter: Annotated[
        Adapter | None,
        Option(
            help="Where they come from: chirpstack, helium or json; told by the first line if left out.",
            metavar="PLATFORM",
        ),
    ] = None,
    received_field: Annotated[
        str, Option(help="Field with the receive time: milliseconds since 1970, or RFC 3339.")
    ] = "_timestamp",
    output: OutputOption = Output.table,
    decisions: Annotated[
        Path | None, Option(help="Write what became of each message to this NDJSON file.", dir_okay=False)
    ] = None,
    **basis: Any,
) -> None:
    """Show what files of device messages would be billed. Needs no cluster, no Kafka and no database.

    Copies of a message are found, times resolved, owners and periods looked up as in a region.

    A period is final for what was received after its cut-off.

    What would not be billed is counted with its reason.

    Example: fleetmeter preview meters.ndjson.gz --metric energy=Cumulative:rollover=1000000 --plan plan.yaml
    """
    console = Console(stderr=True)
    given = Basis(**basis)
    try:
        prices = given.prices()
        trial = Trial(given.setting(prices))
        _run(trial, files, adapter, received_field, decisions, console)
    except (InputError, UnknownCurrencyError, ValueError, OSError, EOFError, zlib.error) as error:
        console.print(f"[red]fleetmeter preview:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("stopped; nothing was billed, a preview changes nothing")
        raise typer.Exit(130) from None
    priced = [] if prices is None else priced_of(trial, prices)
    if output is Output.json:
        typer.echo(json.dumps(document(trial, prices, priced), indent=2, ensure_ascii=False))
    else:
        print_tables(trial, prices, priced)


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
        out = (
            None
            if decisions is None
            else open_until_the_end.enter_context(decisions.open("w", encoding="utf-8"))
        )
        open_until_the_end.enter_context(bar)
        for path in files:
            first = islice((line.raw for line in read_lines(path, received_field)), 100)
            platform = adapter.value if adapter is not None else adapter_of_lines(first)
            task = bar.add_task(f"{path.name} ({platform})", total=path.stat().st_size, read=0)
            _run_file(trial, path, platform, received_field, out, bar, task)
    trial.measure()


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
