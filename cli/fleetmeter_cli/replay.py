"""`fleetmeter replay`: have a region read its queue again, and see that it bills nothing twice."""

import json
import time
from collections.abc import Generator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fleetmeter_cli.amount import number
from fleetmeter_cli.problem import UNREACHABLE, Problem, told
from fleetmeter_cli.region_api import RegionApi, region_api
from fleetmeter_cli.table import Output, OutputOption, moment, show, show_json

_LOOK_SECONDS = 0.5
_INTERRUPTED = 130
_SUMS = (
    ("records", "Records read"),
    ("billed", "Billed"),
    ("duplicate", "Duplicates"),
    ("quarantined", "Set aside"),
    ("undecodable", "Undecodable"),
    ("events", "Events in the ledger"),
    ("resolved", "Of these, by a person"),
    ("setAside", "Rows set aside"),
    ("invoices", "Invoices"),
)


def replay(
    context: typer.Context,
    from_offset: Annotated[
        int | None, typer.Option("--from-offset", min=0, help="First offset to read again; 0 is everything.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Read again what was received since, like 2023-01-31T00:00:00Z."),
    ] = None,
    billing_period: Annotated[
        str | None,
        typer.Option("--billing-period", help="Read all again that may belong to it, like eu-202301."),
    ] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, help="Only this partition; else all.")
    ] = None,
    again: Annotated[
        int | None, typer.Option("--watch", metavar="ID", help="Look at an earlier replay instead.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List earlier replays instead.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds to wait while nothing is read.")] = 120,
    output: OutputOption = Output.table,
) -> None:
    """Have records of the queue read again, and say what that changed: nothing, or it is a defect.

    Billing periods close only once everything is read again. Fails if anything was added.

    Example: fleetmeter --region eu replay --from-offset 0
    """
    with told(), region_api(context) as api:
        if listed:
            _list(api, output)
            return
        if again is None:
            request = {
                "fromOffset": from_offset,
                "since": since,
                "billingPeriod": billing_period,
                "partition": partition,
            }
            begun = _start(api, {name: value for name, value in request.items() if value is not None})
        else:
            begun = api.get(f"/v1/replays/{again}")
        done = _watch(api, begun, patience)
    if output is Output.json:
        show_json(done)
    else:
        _tell(done)
    if done["addedEvents"] or done["addedSetAside"]:
        raise typer.Exit(1)


def _start(api: RegionApi, request: dict[str, Any]) -> dict[str, Any]:
    if len(request.keys() - {"partition"}) != 1:
        raise Problem(
            "It is not said what to read again.",
            "Give one of --from-offset 0, --since 2023-01-31T00:00:00Z and --billing-period eu-202301.",
            2,
        )
    return api.post("/v1/replays", json.dumps(request).encode())


def _watch(api: RegionApi, begun: dict[str, Any], patience: float) -> dict[str, Any]:
    """Follow the replay, with a bar, until nothing is left; returns it with the sums after it."""
    total = sum(part["to"] - part["from"] for part in begun["partitions"])
    bar = Progress(
        TextColumn("reading again"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.completed:,} of {task.total:,} records"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    entry = begun
    try:
        with bar:
            task = bar.add_task("", total=total)
            for entry in _progress(api, begun, patience):
                bar.update(task, completed=max(0, total - entry["left"]))
    except KeyboardInterrupt:
        typer.echo(f"It goes on by itself; `fleetmeter replay --watch {begun['id']}` follows it.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    return entry


def _progress(api: RegionApi, begun: dict[str, Any], patience: float) -> Generator[dict[str, Any]]:
    """The replay as it goes on, until nothing is left. Raises Problem where nothing was read for too long."""
    entry, moved_at = begun, time.monotonic()
    while entry["after"] is None:
        time.sleep(_LOOK_SECONDS)
        impatient = time.monotonic() - moved_at > patience
        found = _look(api, begun["id"], tolerant=not impatient) or entry
        if found["left"] != entry["left"]:
            moved_at = time.monotonic()
        elif impatient and found["left"]:
            raise _stuck(found, patience)
        entry = found
        yield entry


def _look(api: RegionApi, replay_id: int, *, tolerant: bool) -> dict[str, Any] | None:
    """The replay as it stands; None where the API does not answer and that is tolerated: it may be restarted
    meanwhile, and the replay does not need it."""
    try:
        return api.get(f"/v1/replays/{replay_id}")
    except Problem:
        if tolerant:
            return None
        raise


def _stuck(entry: dict[str, Any], patience: float) -> Problem:
    return Problem(
        f"Nothing was read for {patience:.0f} s; {entry['left']:,} records are left.",
        "Look at the region's consumer. The replay goes on by itself: "
        f"`fleetmeter replay --watch {entry['id']}` follows it.",
        UNREACHABLE,
    )


def _tell(done: dict[str, Any]) -> None:
    before, after = done["before"], done["after"]
    show(
        ("", "Before", "After", "Change"),
        [
            (title, number(before[name]), number(after[name]), _change(after[name] - before[name]))
            for name, title in _SUMS
        ],
        right=("Before", "After", "Change"),
        empty="",
    )
    again = sum(part["to"] - part["from"] for part in done["partitions"])
    new = after["records"] - before["records"]
    typer.echo("")
    if done["addedEvents"] or done["addedSetAside"]:
        typer.echo(
            f"Replay {done['id']} read {again:,} records again and CHANGED the ledger: "
            f"{done['addedEvents']:+,} events, {done['addedSetAside']:+,} rows set aside. Please report it."
        )
        return
    typer.echo(f"Replay {done['id']} read {again:,} records again and changed nothing.")
    if new:
        typer.echo(f"Meanwhile {new:,} new records came; the changes above are theirs, to the last one.")


def _change(difference: int) -> str:
    return f"{difference:+,}" if difference else "0"


def _list(api: RegionApi, output: Output) -> None:
    found: list[dict[str, Any]] = api.get("/v1/replays")["replays"]
    if output is Output.json:
        show_json(found)
        return
    show(
        ("Id", "Asked (UTC)", "By", "Partition: from to", "Left"),
        [
            (
                str(each["id"]),
                moment(each["requestedAt"]),
                each["actor"],
                ", ".join(f"{part['partition']}: {part['from']} {part['to']}" for part in each["partitions"]),
                number(each["left"]),
            )
            for each in found
        ],
        right=("Left",),
        empty="No replay yet.",
    )
