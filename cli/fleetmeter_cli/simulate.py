"""`fleetmeter simulate`: a fleet with the faults of real ones, its messages, its registry and the truth."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fleetmeter_cli.fleet.comparison import Comparison, Outcome, setting_of
from fleetmeter_cli.fleet.fleet import MESSAGES, REGISTRY, TRUTH, Fleet
from fleetmeter_cli.fleet.profile import Profile, ProfileError
from fleetmeter_cli.options import with_fields_of

_PATIENCE: Final = 2.0
"""Seconds until a person wants to see how far it is."""
_STEP: Final = 1000


@with_fields_of(Profile)
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the three files; made if missing.", file_okay=False)],
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Run the billing rules over the fleet and compare with the truth."),
    ] = False,
    **profile: Any,
) -> None:
    """Simulate a fleet: what its devices send and, beside it, the truth that a bill can be compared with.

    Writes messages.ndjson (json envelopes in arrival order, `_timestamp` is the receive time in
    milliseconds), registry.ndjson (for `devices import` and `preview --registry`) and truth.ndjson (a line an
    event).

    Example: fleetmeter simulate --devices 100 --days 14 --seed 7 --out fleet --compare
    """
    console = Console(stderr=True)
    try:
        _run(Profile(**profile), out, compare, console)
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
