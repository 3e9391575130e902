"""`fleetmeter backfill`: see a range of history being loaded, and end it."""

from typing import Annotated, Any

import typer

from fleetmeter_cli.problem import Problem, told
from fleetmeter_cli.region_api import RegionApi, region_api, segment
from fleetmeter_cli.table import Output, OutputOption, moment, show, show_json

app = typer.Typer(help="See backfills of history, and complete or revert one.", no_args_is_help=True)

IdArgument = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Like 20230101-20231001; the open one if there is only one."),
]


@app.command("status")
def status(context: typer.Context, output: OutputOption = Output.table) -> None:
    """List backfills and what was decided about them.

    Example: fleetmeter --region eu backfill status
    """
    with told(), region_api(context) as api:
        found = api.get("/v1/backfills")["backfills"]
    if output is Output.json:
        show_json(found)
        return
    show(
        ("Id", "From (UTC)", "To (UTC)", "State", "By", "At (UTC)"),
        [
            (
                each["id"],
                moment(each["from"]),
                moment(each["to"]),
                each["state"],
                each["actor"] or "",
                moment(each["decidedAt"]),
            )
            for each in found
        ],
        empty="No backfill: the region's spec.backfill opens one.",
    )


@app.command("complete")
def complete(context: typer.Context, backfill: IdArgument = None) -> None:
    """Say that everything is loaded: its periods close once it is read. Safe to repeat.

    Example: fleetmeter --region eu backfill complete
    """
    with told(), region_api(context) as api:
        done = _decide(api, backfill, "complete")
    ends: dict[str, int] = done["endOffsets"]
    records = sum(ends.values())
    typer.echo(
        f"Backfill {done['id']} is complete; the queue ends at {records:,} records, its periods can close."
    )


@app.command("revert")
def revert(
    context: typer.Context,
    backfill: IdArgument = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give a backfill up: what still arrives for it is set aside, and its periods close without it.

    Example: fleetmeter --region eu backfill revert 20230101-20231001
    """
    if not yes:
        typer.confirm("A reverted backfill cannot be opened again. Revert it?", abort=True)
    with told(), region_api(context) as api:
        done = _decide(api, backfill, "revert")
    typer.echo(f"Backfill {done['id']} is reverted.")


def _decide(api: RegionApi, backfill: str | None, decision: str) -> dict[str, Any]:
    if backfill is None:
        found: list[dict[str, str]] = api.get("/v1/backfills")["backfills"]
        pending = [each["id"] for each in found if each["state"] == "pending"]
        if len(pending) != 1:
            known = ", ".join(each["id"] for each in found) or "none"
            raise Problem(f"{len(pending)} backfills are open, so name one.", f"Known: {known}.", 2)
        (backfill,) = pending
    return api.post(f"/v1/backfills/{segment(backfill)}/{decision}")
