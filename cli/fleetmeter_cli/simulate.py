"""`fleetmeter simulate`: a fleet with the faults of real ones, its messages, its registry and the truth."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fleetmeter_cli.fleet.comparison import Comparison, Outcome, setting_of
from fleetmeter_cli.fleet.fleet import MESSAGES, REGISTRY, TRUTH, Fleet
from fleetmeter_cli.fleet.profile import DEFAULT_START, Profile, ProfileError

_PATIENCE: Final = 2.0
"""Seconds until a person wants to see how far it is."""
_STEP: Final = 1000
_DEFAULTS: Final = Profile(devices=1, days=1, seed=0)

_FACTS: Final = "Facts that devices send"
_FAULTS: Final = "Faults (shares of the fleet or of its messages; rates for a device in 30 days)"


def simulate(
    devices: Annotated[int, typer.Option(help="How many devices.", min=1)],
    days: Annotated[
        int, typer.Option(help="For how many days events happen; stragglers arrive later.", min=1)
    ],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes, on every machine.", min=0)],
    out: Annotated[Path, typer.Option(help="Folder for the three files; made if missing.", file_okay=False)],
    start: Annotated[
        datetime, typer.Option(help="First day, UTC.", formats=["%Y-%m-%d"])
    ] = f"{DEFAULT_START}",  # pyright: ignore[reportArgumentType]  typer reads defaults like arguments
    every: Annotated[int, typer.Option(help="Seconds between two events of a device.", min=1)] = 600,
    metric: Annotated[
        str, typer.Option(help="What is counted: messages are 1 each, others have decimals.")
    ] = _DEFAULTS.metric,
    customers: Annotated[int, typer.Option(help="How many customers own the fleet.", min=1)] = 5,
    device_class: Annotated[str, typer.Option(help="The devices' class in the registry.")] = "default",
    share_sent_at: Annotated[
        float, typer.Option(help="Devices that say when they sent a message.", rich_help_panel=_FACTS)
    ] = 1.0,
    share_uptime: Annotated[
        float, typer.Option(help="Devices that tell uptime and boot id.", rich_help_panel=_FACTS)
    ] = 1.0,
    wrong_clocks: Annotated[
        float,
        typer.Option(help="Devices with a clock that is not simply synchronised.", rich_help_panel=_FAULTS),
    ] = _DEFAULTS.wrong_clocks,
    boundary_outages: Annotated[
        float,
        typer.Option(help="Devices offline for 48-72 h over each month's end.", rich_help_panel=_FAULTS),
    ] = _DEFAULTS.boundary_outages,
    late: Annotated[
        float, typer.Option(help="Devices back only after 72 h of grace.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.late,
    outages: Annotated[
        float,
        typer.Option(help="Outages of 2 minutes to 12 h, a device in 30 days.", rich_help_panel=_FAULTS),
    ] = _DEFAULTS.outages,
    long_outages: Annotated[
        float, typer.Option(help="Outages of 4-21 days, a device in 30 days.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.long_outages,
    storms: Annotated[
        float,
        typer.Option(
            help="Carrier failures that half of the fleet sees, in 30 days.", rich_help_panel=_FAULTS
        ),
    ] = _DEFAULTS.storms,
    reboots: Annotated[
        float, typer.Option(help="Reboots, a device in 30 days.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.reboots,
    replaced: Annotated[
        float, typer.Option(help="Devices that are replaced by another.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.replaced,
    sold: Annotated[
        float, typer.Option(help="Devices that change the customer.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.sold,
    retransmitted: Annotated[
        float, typer.Option(help="Messages that are not sent just once.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.retransmitted,
    lost: Annotated[
        float, typer.Option(help="Events of which nothing ever arrives.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.lost,
    poison: Annotated[
        float, typer.Option(help="Messages followed by one that nobody can bill.", rich_help_panel=_FAULTS)
    ] = _DEFAULTS.poison,
    guard_seconds: Annotated[
        int,
        typer.Option(
            help="No event so close to the edge of a month or an ownership: nobody can tell its side.",
            rich_help_panel=_FAULTS,
        ),
    ] = _DEFAULTS.guard_seconds,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Run the billing rules over the fleet and compare with the truth."),
    ] = False,
) -> None:
    """Simulate a fleet: what its devices send and, beside it, the truth that a bill can be compared with.

    Writes messages.ndjson (json envelopes in arrival order, `_timestamp` is the receive time in
    milliseconds), registry.ndjson (for `devices import` and `preview --registry`) and truth.ndjson (a line an
    event).

    Example: fleetmeter simulate --devices 100 --days 14 --seed 7 --out fleet --compare
    """
    console = Console(stderr=True)
    try:
        profile = Profile(
            devices,
            days,
            seed,
            start.date(),
            every,
            metric,
            customers,
            device_class,
            share_sent_at=share_sent_at,
            share_uptime=share_uptime,
            wrong_clocks=wrong_clocks,
            boundary_outages=boundary_outages,
            outages=outages,
            long_outages=long_outages,
            late=late,
            storms=storms,
            reboots=reboots,
            replaced=replaced,
            sold=sold,
            retransmitted=retransmitted,
            lost=lost,
            poison=poison,
            guard_seconds=guard_seconds,
        )
        _run(profile, out, compare, console)
    except (ProfileError, OSError) as error:
        console.print(f"[red]fleetmeter simulate:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130) from None


def _run(profile: Profile, out: Path, compared: bool, console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)
    fleet = Fleet(profile)
    started = time.monotonic()
    _follow("simulating", fleet.write(out), profile.expected_messages, console)
    _print_contents(fleet, out, time.monotonic() - started)
    if compared:
        comparison = Comparison(out, setting_of(out))
        _follow("comparing", comparison.run(), fleet.contents.counts["messages"], console)
        _print_outcome(comparison.outcome)


def _follow(what: str, messages: Iterator[int], expected: int, console: Console) -> None:
    """Take message after message; with a bar once it lasts longer than two seconds."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[messages]:,} messages"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task("", total=expected, messages=0)
    started = time.monotonic()
    shown = False
    try:
        for number in messages:
            if number % _STEP:
                continue
            if not shown and time.monotonic() - started > _PATIENCE:
                bar.start()
                shown = True
            if shown:
                bar.update(task, completed=number, messages=number)
    finally:
        bar.stop()


def _print_contents(fleet: Fleet, out: Path, seconds: float) -> None:
    counts = fleet.contents.counts
    table = _table(f"Simulated fleet, seed {fleet.profile.seed}", "How many")
    for name in ("messages", "devices", *sorted(counts.keys() - {"messages", "devices"})):
        if counts[name]:
            table.add_row(name, f"{counts[name]:,}")
    console = Console()
    console.print(table)
    speed = counts["messages"] / max(seconds, 0.001)
    console.print(
        f"{out}: {MESSAGES}, {REGISTRY}, {TRUTH}; {seconds:.1f} s, {speed:,.0f} messages/s",
        highlight=False,
        soft_wrap=True,
    )


def _print_outcome(outcome: Outcome) -> None:
    table = _table("Billed by the rules, compared with the truth", "Events", "Share")
    rows = [
        ("arrived", outcome.delivered),
        ("billed once, in the right month", outcome.right),
        *((f"set aside: {reason}", number) for reason, number in sorted(outcome.set_aside.items())),
        ("wrong month, marked as uncertain", outcome.flagged),
        ("wrong month, no mark", outcome.wrong),
        ("wrong customer", outcome.misowned),
        ("twice", outcome.doubled),
        ("not at all", outcome.unseen),
        ("billed, but never happened", outcome.strays),
    ]
    for name, number in rows:
        table.add_row(name, f"{number:,}", f"{100 * outcome.share(number):.3f} %")
    console = Console()
    console.print(table)
    console.print(
        f"{outcome.duplicates:,} duplicates found, {outcome.poison:,} messages that nobody can bill",
        highlight=False,
    )


def _table(title: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("What")
    for name in numbers:
        table.add_column(name, justify="right")
    return table
