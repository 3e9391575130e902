"""`fleetmeter quarantine`: what was set aside and why, and what a person makes of it."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fleetmeter_cli.amount import number
from fleetmeter_cli.estimate import estimate
from fleetmeter_cli.problem import Problem, told
from fleetmeter_cli.region_api import RegionApi, region_api
from fleetmeter_cli.table import Output, OutputOption, console, moment, show, show_json
from fleetmeter_rules.time_evidence import in_words

_CHUNK = 200
_MOST_BYTES = 2000
_MOST_REFUSALS = 10

app = typer.Typer(help="See what was not billed, with its reason, and resolve it.", no_args_is_help=True)

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only this reason, like unknown_device.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Only this device's, by alias or uid.")]
PeriodOption = Annotated[
    str | None, typer.Option("--billing-period", help="Only this period, like eu-202301.")
]


class Resolution(StrEnum):
    """What may become of a row."""

    bill_next = "bill-next"
    credit = "credit"
    write_off = "write-off"
    duplicate = "duplicate"


_QUESTION = {
    Resolution.bill_next: "This bills {} rows on their customers' next invoices. Go on?",
    Resolution.credit: "This takes {} billed events back on their customers' next invoices. Go on?",
    Resolution.write_off: "This gives {} rows up: nobody pays for them. Go on?",
    Resolution.duplicate: "This marks {} rows as copies of what is billed. Go on?",
}


@app.command("list")
def list_quarantine(
    context: typer.Context,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    billing_period: PeriodOption = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Show what is resolved as well.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows at most.")] = 50,
    output: OutputOption = Output.table,
) -> None:
    """Count what was set aside by reason, and list the oldest of it.

    Example: fleetmeter --region eu quarantine list --reason unknown_device
    """
    with told(), region_api(context) as api:
        counts = api.get("/v1/quarantine", limit="1")["counts"]
        rows = api.pages(
            "/v1/quarantine",
            "quarantine",
            reason=reason,
            device=device,
            billingPeriod=billing_period,
            resolved="true" if resolved else None,
        )
        found = list(islice(rows, limit))
    if output is Output.json:
        show_json({"counts": counts, "quarantine": found})
        return
    show(
        ("Reason", "Waiting"),
        [(code, number(count)) for code, count in sorted(counts.items(), key=lambda pair: -pair[1])],
        right=("Waiting",),
        empty="Nothing is set aside.",
    )
    if not found:
        return
    console().print()
    show(
        ("Id", "Received (UTC)", "Reason", "Device", "Period", "Resolved" if resolved else "Detail"),
        [
            (
                str(each["id"]),
                moment(each["receivedAt"]),
                each["reason"],
                each["device"] or "",
                each["billingPeriod"] or "",
                _resolved(each) if resolved else each["detail"],
            )
            for each in found
        ],
        empty="",
    )


@app.command("show")
def show_row(
    context: typer.Context,
    row: Annotated[int, typer.Argument(metavar="ID", min=1, help="Its id, as `quarantine list` shows it.")],
    plan: Annotated[
        Path | None, typer.Option("--plan", help="The plan's manifest, to say what the row is worth.")
    ] = None,
    output: OutputOption = Output.table,
) -> None:
    """Show one row: why it was set aside, what it says, its bytes, and where it would be billed.

    Example: fleetmeter --region eu quarantine show 12 --plan plans.yaml
    """
    with told(), region_api(context) as api:
        found = api.get(f"/v1/quarantine/{row}")
        worth = [_worth(found, each, plan) for each in found["candidates"]]
    if output is Output.json:
        values = [each if value is None else each | {"worth": value} for each, value in _pairs(found, worth)]
        show_json(found | {"candidates": values})
        return
    _print(found, worth)


@app.command("resolve")
def resolve(
    context: typer.Context,
    resolution: Annotated[
        Resolution,
        typer.Argument(
            help="bill-next: on the customer's next invoice, at its own month's prices. credit: take the "
            "first copy back. write-off: give it up. duplicate: it is a copy."
        ),
    ],
    rows: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Ids, as `quarantine list` shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All rows that the options name.")] = False,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    billing_period: PeriodOption = None,
    event_at: Annotated[
        str | None,
        typer.Option("--event-at", help="When it happened, RFC 3339, where the message does not say it."),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", help="Why, for whoever reads it later.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Resolve rows, each once and for good; your token's name is kept with it.

    Example: fleetmeter --region eu quarantine resolve bill-next --reason unknown_device --device X --all
    """
    with told(), region_api(context) as api:
        if everything == bool(rows) or (everything and not (reason or device or billing_period)):
            raise Problem(
                "Which rows?", "Name their ids, or say --all with a reason, a device or a billing period.", 2
            )
        if event_at is not None and len(rows or ()) != 1:
            raise Problem("--event-at is about one row.", "Name one id with it.", 2)
        if rows is not None and len(rows) == 1:
            _resolve_one(api, rows[0], resolution, event_at, note)
            return
        ids = rows or _ids(api, reason, device, billing_period)
        if not ids:
            typer.echo("No such row waits.")
            return
        if not yes:
            typer.confirm(_QUESTION[resolution].format(number(len(ids))), abort=True)
        refused = _resolve_many(api, ids, resolution, note)
        if refused:
            raise Problem(
                f"{number(len(refused))} of {number(len(ids))} rows stay as they are.",
                "; ".join(sorted({f"{each['error']}: {each['remedy']}" for each in refused})[:3]),
            )


def _ids(api: RegionApi, reason: str | None, device: str | None, billing_period: str | None) -> list[int]:
    rows = api.pages(
        "/v1/quarantine", "quarantine", reason=reason, device=device, billingPeriod=billing_period
    )
    return [each["id"] for each in rows]


def _resolve_one(
    api: RegionApi, row: int, resolution: Resolution, event_at: str | None, note: str | None
) -> None:
    body = {"resolution": resolution.value, "note": note, "eventAt": event_at}
    wish = {name: value for name, value in body.items() if value is not None}
    done = api.post(f"/v1/quarantine/{row}/resolve", json.dumps(wish).encode())
    where = f", billed in {done['billedIn']}" if done["billedIn"] else ""
    typer.echo(f"Row {row} is {done['resolution'].replace('_', ' ')} by {done['resolvedBy']}{where}.")


def _resolve_many(
    api: RegionApi, ids: Sequence[int], resolution: Resolution, note: str | None
) -> list[dict[str, Any]]:
    """The rows that were refused; the others are resolved."""
    refused: list[dict[str, Any]] = []
    done = 0
    for start in range(0, len(ids), _CHUNK):
        wish: dict[str, Any] = {"ids": ids[start : start + _CHUNK], "resolution": resolution.value}
        if note is not None:
            wish["note"] = note
        answer = api.post("/v1/quarantine/resolve", json.dumps(wish).encode())
        done += answer["resolved"]
        refused += answer["refused"]
    typer.echo(f"{number(done)} rows resolved as {resolution.value}.")
    for each in refused[:_MOST_REFUSALS]:
        typer.echo(f"row {each['id']}: {each['error']}", err=True)
    return refused


def _pairs(found: Mapping[str, Any], worth: Sequence[str | None]) -> list[tuple[dict[str, Any], str | None]]:
    return list(zip(found["candidates"], worth, strict=True))


def _worth(found: Mapping[str, Any], candidate: Mapping[str, Any], plan: Path | None) -> str | None:
    """What the row would cost there by the plan; None without a plan, or where nothing can be billed."""
    content = found["content"]
    chosen = [each for each in content["items"] if each["chosen"]] if content else []
    if plan is None or not chosen or candidate["start"] is None:
        return None
    return estimate(plan, candidate, chosen[0])


def _resolved(row: Mapping[str, Any]) -> str:
    if row["resolution"] is None:
        return ""
    return f"{row['resolution'].replace('_', ' ')} by {row['resolvedBy']}, {moment(row['resolvedAt'])}"


def _print(found: Mapping[str, Any], worth: Sequence[str | None]) -> None:
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(found):
        facts.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console().print(facts)
    if found["candidates"]:
        console().print()
        show(
            ("If it happened (UTC)", "Customer", "Contract", "Billed in", "Worth"),
            [
                (
                    moment(each["eventAt"]),
                    each["customer"] or "nobody's",
                    each["contract"] or "none",
                    _place(each),
                    value or "",
                )
                for each, value in _pairs(found, worth)
            ],
            right=("Worth",),
            empty="",
        )
    raw = found["raw"]
    if raw is not None:
        text = raw["text"] if raw["text"] is not None else raw["hex"]
        shown = text if len(text) <= _MOST_BYTES else f"{text[:_MOST_BYTES]}… (-o json has all)"
        console().print()
        console().print(Text(f"{number(raw['bytes'])} bytes", style="dim"))
        console().print(Text(shown, overflow="fold"))


def _place(candidate: Mapping[str, Any]) -> str:
    if candidate["billingPeriod"] is None:
        return "nothing"
    return (
        f"the next, for {candidate['billingPeriod']}" if candidate["isFinal"] else candidate["billingPeriod"]
    )


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    content, first = found["content"], found["first"]
    facts = [
        ("Reason", f"{found['reason']}: {found['detail']}"),
        ("Received", f"{found['receivedAt']}{', late' if found['late'] else ''}"),
        ("From", f"{found['adapter']} {found['topic']}, partition {found['partition']} at {found['offset']}"),
    ]
    if content is not None:
        items = ", ".join(f"{number(each['quantity'])} {each['metric']}" for each in content["items"])
        facts.append(("Says", f"device {content['device']}, {content['identity']}: {items}"))
        facts.append(
            ("Its clock", f"event {content['eventAt'] or 'not told'}, sent {content['sentAt'] or 'not told'}")
        )
    elif found["unreadable"]:
        facts.append(("Unreadable", found["unreadable"]))
    if found["isCertain"]:
        (only,), time = found["candidates"], found["timeEvidence"]
        facts.append(("Happened", f"{only['eventAt']}, {in_words(time['quality'], time['flags'])}"))
    if first is not None:
        kept = "billed" if first["isBilled"] else "set aside"
        facts.append(("First copy", f"{first['quantity']} {first['metric']} at {first['eventAt']}, {kept}"))
    if found["resolution"] is not None:
        where = f", billed in {found['billedIn']}" if found["billedIn"] else ""
        invoice = f" on {found['invoice']}" if found["invoice"] else ""
        facts.append(("Resolved", f"{_resolved(found)}{where}{invoice}"))
        if found["note"]:
            facts.append(("Note", found["note"]))
    return facts
