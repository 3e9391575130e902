"""`fleetmeter price`: what a quantity costs by a plan, step by step, as an invoice's line would say it."""

from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from fleetmeter_api.plan import Charge, PlanDocument, PlanVersion
from fleetmeter_cli import amount as shown
from fleetmeter_cli.amount import number
from fleetmeter_cli.plans import read_plans
from fleetmeter_cli.problem import Problem, told
from fleetmeter_cli.table import Output, OutputOption, console, show_json
from fleetmeter_rules import number as rules_number
from fleetmeter_rules.invoice import price_document
from fleetmeter_rules.number import EXACT, QuantityError, plain
from fleetmeter_rules.pricing import Price, TierAmount, price
from fleetmeter_rules.rounding import minor_units, money, round_amount


def show_price(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.yaml", help="A PricingPlan manifest.")],
    metric: Annotated[str, typer.Option("--metric", help="The metric's code, like messages.")],
    quantity: Annotated[str, typer.Option("--quantity", help="How much of it, a decimal number.")],
    devices: Annotated[
        int | None, typer.Option("--devices", min=0, help="Active devices, for charges by device.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="The plan's version; the one in effect if left out.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--plan", help="Which plan, where the file holds several.")
    ] = None,
    output: OutputOption = Output.table,
) -> None:
    """Price a quantity by a plan, without any region. The same rules make the invoices.

    Example: fleetmeter price plan.yaml --metric messages --quantity 1835
    """
    with told():
        document = _plan(plan, name)
        chosen = _version(document, version)
        amount = _quantity(quantity)
        charges = [charge for charge in chosen.charges if charge.metric == metric]
        if not charges:
            known = ", ".join(sorted({charge.metric for charge in chosen.charges}))
            raise Problem(f"Version {chosen.version} prices no metric of this code.", f"It prices: {known}.")
        counted = {
            charge.name: amount if charge.measure == "Quantity" else Decimal(devices or 0)
            for charge in charges
        }
        if devices is None and any(charge.measure == "ActiveDevices" for charge in charges):
            typer.echo("A charge counts active devices: add --devices to price it too.", err=True)
            charges = [charge for charge in charges if charge.measure == "Quantity"]
    lines = [(charge, counted[charge.name], price(charge, counted[charge.name])) for charge in charges]
    if output is Output.json:
        show_json(_json(document, chosen, lines))
    else:
        _print(document, chosen, lines)


def _plan(file: Path, name: str | None) -> PlanDocument:
    found = list(read_plans(file))
    for manifest in found:
        if manifest.plan is None:
            raise Problem(
                f"{manifest.place}: {manifest.reasons[0]}.", "Check it with `fleetmeter plans check`."
            )
    plans = [each.plan for each in found if each.plan is not None and name in (None, each.plan.name)]
    if len(plans) == 1:
        return plans[0]
    known = ", ".join(each.plan.name for each in found if each.plan is not None) or "none"
    raise Problem(
        f"{file} holds {len(plans)} such plans, and one is needed.", f"Name one by --plan; it has: {known}."
    )


def _version(document: PlanDocument, wanted: str | None) -> PlanVersion:
    versions = document.spec.versions
    if wanted is None:
        started = [each for each in versions if each.effective_from <= datetime.now(UTC)]
        return (started or list(versions))[-1]
    for each in versions:
        if each.version == wanted:
            return each
    known = ", ".join(each.version for each in versions)
    raise Problem(f"Plan {document.name} has no version of this name.", f"It has: {known}.")


def _quantity(text: str) -> Decimal:
    try:
        return rules_number.quantity(text.replace(",", ""))
    except QuantityError as error:
        raise Problem(f"--quantity: {error}.", "Write a plain decimal number like 1835 or 0.5.", 2) from None


def _json(
    document: PlanDocument, version: PlanVersion, lines: list[tuple[Charge, Decimal, Price]]
) -> dict[str, Any]:
    currency = document.spec.currency
    return {
        "plan": document.name,
        "version": version.version,
        "currency": currency,
        "lines": [
            {
                "charge": charge.name,
                "model": charge.model,
                "measure": charge.measure,
                "quantity": plain(quantity),
                **price_document(priced),
                "amount": money(round_amount(priced.exact, currency), currency),
            }
            for charge, quantity, priced in lines
        ],
        "total": money(_total(lines, currency), currency),
    }


def _total(lines: list[tuple[Charge, Decimal, Price]], currency: str) -> Decimal:
    with localcontext(EXACT):
        return sum((round_amount(priced.exact, currency) for _, _, priced in lines), Decimal(0))


def _print(document: PlanDocument, version: PlanVersion, lines: list[tuple[Charge, Decimal, Price]]) -> None:
    currency = document.spec.currency
    out = console()
    since = f"{version.effective_from:%Y-%m-%d}"
    out.print(
        Text(f"{document.name}", style="bold"), Text(f"version {version.version}, in effect since {since}")
    )
    for charge, quantity, priced in lines:
        out.print()
        out.print(_table(charge, quantity, priced, currency))
    if len(lines) != 1:
        out.print()
        out.print(Text(f"Total {_amount(_total(lines, currency), currency)}", style="bold"))


def _table(charge: Charge, quantity: Decimal, priced: Price, currency: str) -> Table:
    """A charge's line, and how it comes about."""
    unit = "active devices" if charge.measure == "ActiveDevices" else charge.metric
    amount = round_amount(priced.exact, currency)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(Text(f"{charge.description or charge.name} ({charge.model})"), overflow="fold")
    table.add_column(Text(f"{number(quantity)} {unit}"), justify="right")
    table.add_column(Text(_amount(amount, currency)), justify="right")
    least = minor_units(currency)
    for tier in priced.tiers:
        if tier.quantity or tier.flat_fee:
            fee = f" + {number(tier.flat_fee, least)}" if tier.flat_fee else ""
            steps = f"{number(tier.quantity)} × {number(tier.unit_price, least)}{fee}"
            table.add_row(Text(_span(tier)), Text(steps), Text(_amount(tier.amount, currency)), style="dim")
    if priced.exact != amount:
        table.add_row(Text(f"exactly {number(priced.exact)}, rounded once", style="dim"))
    return table


def _span(tier: TierAmount) -> str:
    """Which quantities a tier prices."""
    if not tier.start:
        return "every unit" if tier.up_to is None else f"first {number(tier.up_to)}"
    above = f"above {number(tier.start)}"
    return above if tier.up_to is None else f"{above}, up to {number(tier.up_to)}"


def _amount(amount: Decimal, currency: str) -> str:
    return shown.money(amount, currency, minor_units(currency))
