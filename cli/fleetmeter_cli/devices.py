"""`fleetmeter devices`: fill the registry from a file, and list it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetmeter_cli.problem import REFUSED, Problem, told
from fleetmeter_cli.region_api import RegionApi, region_api
from fleetmeter_cli.table import Output, OutputOption, moment, show, show_json

_BATCH_LINES = 5000
_MOST_SHOWN = 20

app = typer.Typer(help="Register devices and their owners, and list them.", no_args_is_help=True)


@app.command("import")
def import_devices(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="One JSON object a line; - reads standard input.")],
    output: OutputOption = Output.table,
) -> None:
    """Register devices from lines like {"uid": "d1d1e80000000032", "customer": "acme", "alias": "hut-door"}.

    Safe to repeat: what is registered already stays as it is. A bad line stops no other; exit code 1 then.
    Optional in a line: alias, deviceClass, validFrom, validTo.

    Example: fleetmeter --region eu devices import devices.ndjson
    """
    with told():
        lines = _read(file)
        with region_api(context) as api:
            result = _import(api, lines)
    if output is Output.json:
        show_json(result)
    else:
        typer.echo(
            f"{result['lines']:,} lines: {result['devices']:,} new devices,"
            f" {result['bindings']:,} owners recorded, {result['refused']:,} refused."
        )
        for each in result["refusedLines"][:_MOST_SHOWN]:
            typer.echo(f"line {each['line']}: {each['reason']}", err=True)
        if result["refused"] > _MOST_SHOWN:
            typer.echo(f"and {result['refused'] - _MOST_SHOWN:,} more; -o json shows them", err=True)
    if result["refused"]:
        raise typer.Exit(REFUSED)


@app.command("list")
def list_devices(context: typer.Context, output: OutputOption = Output.table) -> None:
    """List registered devices and their owners.

    Example: fleetmeter --region eu devices list
    """
    with told(), region_api(context) as api:
        found = list(api.pages("/v1/devices", "devices"))
    if output is Output.json:
        show_json(found)
        return
    rows: list[tuple[str, ...]] = []
    for each in found:
        owners: list[dict[str, str | None]] = each["owners"] or [{}]
        for owner in owners:
            span = (moment(owner.get("validFrom")), moment(owner.get("validTo")))
            rows.append((each["alias"], each["uid"], each["deviceClass"], owner.get("customer") or "", *span))
    show(
        ("Alias", "Uid", "Class", "Customer", "From (UTC)", "To (UTC)"),
        rows,
        empty="No device is registered; add some with `fleetmeter devices import`.",
    )


def _read(file: Path) -> list[bytes]:
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Problem(f"{file} can't be read: {error.strerror}.", "Check the file's name.") from None
    return content.split(b"\n")


def _import(api: RegionApi, lines: list[bytes]) -> dict[str, Any]:
    """Register batch by batch; line numbers are the file's."""
    total: dict[str, Any] = {"lines": 0, "devices": 0, "bindings": 0, "refused": 0, "refusedLines": []}
    for start, batch in _batches(lines):
        result = api.post("/v1/devices", b"\n".join(batch))
        for name in ("lines", "devices", "bindings", "refused"):
            total[name] += result[name]
        total["refusedLines"] += [
            {"line": each["line"] + start, "reason": each["reason"]} for each in result["refusedLines"]
        ]
    return total


def _batches(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    for start in range(0, len(lines), _BATCH_LINES):
        yield start, lines[start : start + _BATCH_LINES]
