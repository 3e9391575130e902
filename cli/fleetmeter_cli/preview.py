"""`fleetmeter preview`: what files of device messages would be billed, on this machine alone."""

import json
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import Metric
from fleetmeter_cli.preview_input import InputError, read_metric, read_plan, read_region, read_registry
from fleetmeter_cli.preview_output import document, priced_of, print_tables
from fleetmeter_cli.table import Output, OutputOption
from fleetmeter_cli.trace import read_lines
from fleetmeter_cli.trial import Setting, Trial, adapter_of_lines
from fleetmeter_rules.calendar import Calendar
from fleetmeter_rules.contracts import Defaults, defaults_of
from fleetmeter_rules.rounding import UnknownCurrencyError, minor_units

_GRACE = timedelta(hours=72)


class Adapter(StrEnum):
    """The platforms that messages come from."""

    CHIRPSTACK = "chirpstack"
    HELIUM = "helium"
    JSON = "json"


File = Annotated[
    list[Path], typer.Argument(help="Files of one message a line, plain or .gz.", exists=True, dir_okay=False)
]


def preview(
    files: File,
    adapter: Annotated[
        Adapter | None, typer.Option(help="The platform they come from; told by the first line if left out.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="IANA zone of the periods; the region's, or UTC.")
    ] = None,
    anchor_day: Annotated[
        int | None, typer.Option(help="Day that starts a period; the region's, or 1.")
    ] = None,
    registry: Annotated[
        Path | None, typer.Option(help="Devices and customers, NDJSON.", exists=True, dir_okay=False)
    ] = None,
    region: Annotated[
        Path | None,
        typer.Option(
            "--region",
            "--region-file",
            help="BillingRegion YAML: its calendar, metrics, classes, late usage.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A metric and its kind: energy=Cumulative (a meter's readings; :rollover=1000000 if it "
            "starts again at 0 there, :sentinel=16777215 for a value to skip) or storage=Gauge:Max (a level; "
            "Max, Last or TimeWeighted). Others are Delta, amounts that add up. Repeat it for more.",
            metavar="CODE=KIND",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="PricingPlan YAML, to see amounts too.", exists=True, dir_okay=False)
    ] = None,
    plan_name: Annotated[str | None, typer.Option(help="Which plan, if the file holds several.")] = None,
    output: OutputOption = Output.table,
    decisions: Annotated[
        Path | None,
        typer.Option(help="Write what became of each message to this NDJSON file.", dir_okay=False),
    ] = None,
    received_field: Annotated[
        str, typer.Option(help="Field with the receive time: milliseconds since 1970, or RFC 3339.")
    ] = "_timestamp",
) -> None:
    """Show what files of device messages would be billed. Needs no cluster, no Kafka and no database.

    Copies of a message are found, times resolved, owners and periods looked up as in a region.

    What would not be billed is counted with its reason.

    Example: fleetmeter preview meters.ndjson.gz --metric energy=Cumulative:rollover=1000000 --plan plan.yaml
    """
    console = Console(stderr=True)
    try:
        prices = None if plan is None else read_plan(plan, plan_name)
        if prices is not None:
            minor_units(prices.spec.currency)
        kinds = [read_metric(each) for each in metric or ()]
        trial = Trial(_with_kinds(_setting(region, registry, prices, time_zone, anchor_day), kinds))
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
    terms = Defaults(calendar, own.grace, own.late_usage)
    metrics = frozenset(metric.code for metric in spec.metrics)
    return _with_kinds(Setting(terms, devices, spec.all_device_classes(), metrics), spec.metrics)


def _with_kinds(setting: Setting, metrics: Iterable[Metric]) -> Setting:
    """The setting with these metrics' kinds, whatever was said of them before; they count, too."""
    kinds = {metric.code: metric for metric in metrics}
    counted = None if setting.metrics is None else setting.metrics | kinds.keys()
    return replace(setting, kinds={**setting.kinds, **kinds}, metrics=counted)


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
