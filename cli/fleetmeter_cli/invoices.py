"""`fleetmeter invoices`: list them, read one, keep them as files."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleetmeter_cli.amount import money, number, places
from fleetmeter_cli.problem import Problem, told
from fleetmeter_cli.region_api import RegionApi, region_api, segment
from fleetmeter_cli.table import Output, OutputOption, console, show, show_json

_MOST_DEVICES = 10

app = typer.Typer(help="List invoices, read one, save them as JSON and pages.", no_args_is_help=True)

ContractOption = Annotated[str | None, typer.Option("--contract", help="Only this contract's.")]
PeriodOption = Annotated[
    str | None, typer.Option("--billing-period", help="Only this period, like eu-202301.")
]


@app.command("list")
def list_invoices(
    context: typer.Context,
    contract: ContractOption = None,
    billing_period: PeriodOption = None,
    output: OutputOption = Output.table,
) -> None:
    """List invoices by number.

    Example: fleetmeter --region eu invoices list --billing-period eu-202301
    """
    with told(), region_api(context) as api:
        found = _list(api, contract, billing_period)
    if output is Output.json:
        show_json(found)
        return
    show(
        ("Number", "Period", "Customer", "Contract", "Issued", "Events", "Total"),
        [
            (
                _versioned(each),
                each["billingPeriod"],
                each["customer"],
                each["contract"],
                each["issueDate"],
                number(each["events"]),
                money(each["total"], each["currency"], places(each["total"])),
            )
            for each in found
        ],
        right=("Events", "Total"),
        empty="No invoice yet: a period is invoiced when it is final.",
    )


@app.command("show")
def show_invoice(
    context: typer.Context,
    invoice: Annotated[str, typer.Argument(help="Its number, like EU-000001.")],
    output: OutputOption = Output.table,
) -> None:
    """Read one invoice: its lines, their steps, and the devices that make them up.

    Example: fleetmeter --region eu invoices show EU-000001
    """
    with told(), region_api(context) as api:
        answer = api.fetch(f"/v1/invoices/{segment(invoice)}")
    if output is Output.json:
        # To the byte as it was sealed, so that its hash can be checked.
        typer.get_binary_stream("stdout").write(answer.content)
        return
    _print(answer.json())


@app.command("save")
def save(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where to; made if it is not there.", file_okay=False)],
    contract: ContractOption = None,
    billing_period: PeriodOption = None,
) -> None:
    """Save invoices as NUMBER.json, to the byte as sealed, and NUMBER.html, to read and print.

    Example: fleetmeter --region eu invoices save ./invoices
    """
    with told(), region_api(context) as api:
        found = _list(api, contract, billing_period)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for each in found:
                path = f"/v1/invoices/{segment(each['number'])}"
                _write(directory / f"{each['number']}.json", api.fetch(path).content)
                _write(directory / f"{each['number']}.html", api.fetch(f"{path}/page").content)
        except OSError as error:
            raise Problem(
                f"{error.filename} can't be written: {error.strerror}.", "Name another directory."
            ) from None
    typer.echo(f"Saved {len(found)} invoices, as JSON and as pages, in {directory}.")


def _list(api: RegionApi, contract: str | None, billing_period: str | None) -> list[dict[str, Any]]:
    return list(api.pages("/v1/invoices", "invoices", contract=contract, billingPeriod=billing_period))


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)


def _versioned(entry: Mapping[str, Any]) -> str:
    """The number and, of an amended one, that of the version before: alone in a list, with its date and
    amount in a document."""
    amends: Any = entry.get("amends")
    if not amends:
        return entry["number"]
    return f"{entry['number']} amends {amends['number'] if isinstance(amends, Mapping) else amends}"


def _print(invoice: Mapping[str, Any]) -> None:
    out = console()
    period, currency = invoice["period"], invoice["currency"]
    out.print()
    out.print(Text(f"Invoice {_versioned(invoice)}", style="bold"), Text(f"issued {invoice['issueDate']}"))
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("From", invoice["seller"]["name"]),
        ("To", f"{invoice['customer']['name']} ({invoice['customer']['code']})"),
        ("Contract", f"{invoice['contract']}, plan {invoice['plan']['name']} {invoice['plan']['version']}"),
        ("Period", f"{period['billingPeriod']}: {period['start']} to {period['end']} ({period['timeZone']})"),
        ("Final since", f"{period['cutOff']}, late usage counted until then"),
        ("Snapshot", f"{number(invoice['snapshot']['events'])} events, {invoice['snapshot']['digest']}"),
    ):
        facts.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    out.print(facts)
    for line in invoice["lines"]:
        _print_line(out, line, currency)
    for entry in invoice.get("adjustments", ()):
        _print_adjustment(out, entry, currency)
    out.print()
    least = places(invoice["total"])
    amends = invoice.get("amends")
    if amends:
        credit = number(str(-Decimal(amends["amount"])), least)
        out.print(Text(f"Charges {money(invoice['subtotal'], currency, least)}"))
        out.print(Text(f"Charges of {amends['number']}, credited {credit} {currency}"))
    total = money(invoice["total"], currency, least)
    out.print(Text("Difference" if amends else "Total", style="bold"), Text(total, style="bold"))


def _unit(line: Mapping[str, Any]) -> str:
    unit = "active device" if line["measure"] == "ActiveDevices" else line["unit"] or line["metric"]
    return unit if number(line["quantity"]) == "1" or unit.endswith("s") or len(unit) < 4 else f"{unit}s"


def _step(tier: Mapping[str, Any]) -> str:
    if number(tier["from"]) == "0":
        return "every unit" if tier["upTo"] is None else f"first {number(tier['upTo'])}"
    above = f"above {number(tier['from'])}"
    return above if tier["upTo"] is None else f"{above}, up to {number(tier['upTo'])}"


def _print_adjustment(out: Console, entry: Mapping[str, Any], currency: str) -> None:
    """Late usage of an earlier period: its month, what was invoiced of it before, and the difference."""
    least = places(entry["amount"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    title = f"{entry['description'] or entry['charge']}, late usage of {entry['billingPeriod']}"
    table.add_column(Text(title), overflow="fold")
    table.add_column(Text(f"{number(entry['quantity'])} {_unit(entry)}"), justify="right")
    table.add_column(Text(money(entry["amount"], currency, least)), justify="right")
    table.add_row(
        Text(f"invoiced before, by {entry['invoice']} and later"),
        Text(number(entry["bookedQuantity"])),
        Text(money(entry["bookedAmount"], currency, least)),
        style="dim",
    )
    _add_devices(table, entry["byDevice"], currency, least)
    out.print()
    out.print(table)


def _print_line(out: Console, line: Mapping[str, Any], currency: str) -> None:
    least = places(line["amount"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(Text(line["description"] or line["charge"]), overflow="fold")
    table.add_column(Text(f"{number(line['quantity'])} {_unit(line)}"), justify="right")
    table.add_column(Text(money(line["amount"], currency, least)), justify="right")
    for tier in line["tiers"]:
        fee = tier.get("flatFee") or "0"
        extra = "" if number(fee) == "0" else f" + {number(fee, least)}"
        table.add_row(
            Text(_step(tier)),
            Text(f"{number(tier['quantity'])} × {number(tier['unitPrice'], least)}{extra}"),
            Text(money(tier["amount"], currency, least)),
            style="dim",
        )
    _add_devices(table, line["byDevice"], currency, least)
    out.print()
    out.print(table)


def _add_devices(table: Table, devices: Sequence[Mapping[str, Any]], currency: str, least: int) -> None:
    for share in devices[:_MOST_DEVICES]:
        table.add_row(
            Text(f"· {share['device']}"),
            Text(f"{number(share['quantity'])} ({number(share['events'])} events)"),
            Text(money(share["amount"], currency, least)),
        )
    if len(devices) > _MOST_DEVICES:
        table.add_row(
            Text(f"· and {len(devices) - _MOST_DEVICES} more devices; -o json has them all", style="dim")
        )
