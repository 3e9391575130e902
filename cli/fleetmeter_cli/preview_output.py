"""Preview's output: what would be billed, as a table for people or JSON for programs."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import typer

from fleetmeter_api.plan import PlanDocument
from fleetmeter_cli import amount as shown
from fleetmeter_cli.table import show
from fleetmeter_cli.trial import Place, Tally, Trial
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import plain
from fleetmeter_rules.pricing import NoPriceError, price, version_for
from fleetmeter_rules.rounding import minor_units, money, round_amount


@dataclass(frozen=True, slots=True)
class Priced:
    """One charge of a customer's period at the plan's prices."""

    customer: str
    period: str
    charge: str
    quantity: Decimal
    amount: Decimal | None
    note: str = ""


def priced_of(trial: Trial, plan: PlanDocument) -> list[Priced]:
    """Every charge of the plan for each customer's periods."""
    months: dict[tuple[str, str], dict[str, Tally]] = defaultdict(dict)
    for place, tally in trial.tallies.items():
        if tally.events:
            months[place.customer, place.period][place.metric] = tally
    return [
        line
        for (customer, period), tallies in sorted(months.items())
        for line in _charged(customer, period, tallies, plan)
    ]


def _charged(customer: str, period: str, tallies: dict[str, Tally], plan: PlanDocument) -> list[Priced]:
    bounds: Bounds = next(iter(tallies.values())).bounds
    try:
        version = version_for(plan.spec, bounds)
    except NoPriceError as error:
        return [Priced(customer, period, "", Decimal(0), None, str(error))]
    lines: list[Priced] = []
    for charge in version.charges:
        tally = tallies.get(charge.metric)
        quantity = Decimal(0) if tally is None else tally.quantity
        if charge.measure == "ActiveDevices":
            quantity = Decimal(0 if tally is None else len(tally.devices))
        amount = round_amount(price(charge, quantity).exact, plan.spec.currency)
        lines.append(Priced(customer, period, charge.name, quantity, amount))
    return lines


def document(trial: Trial, plan: PlanDocument | None, priced: list[Priced]) -> dict[str, Any]:
    """The result as JSON values; quantities and amounts are decimal strings."""
    found: dict[str, Any] = {
        "read": trial.read,
        "unusable": trial.unusable.total(),
        "periods": [_period_document(place, trial.tallies[place]) for place in sorted(trial.tallies)],
    }
    if plan is not None:
        found["currency"] = plan.spec.currency
        found["amounts"] = [
            {
                "customer": line.customer,
                "period": line.period,
                "charge": line.charge,
                "quantity": plain(line.quantity),
                "amount": None if line.amount is None else money(line.amount, plan.spec.currency),
            }
            for line in priced
        ]
    return found


def _period_document(place: Place, tally: Tally) -> dict[str, Any]:
    return {
        "customer": place.customer,
        "metric": place.metric,
        "period": place.period,
        "events": tally.events,
        "duplicates": tally.duplicates,
        "late": tally.late,
        "quarantined": dict(sorted(tally.quarantined.items())),
        "quantity": plain(tally.quantity),
    }


def print_tables(trial: Trial, plan: PlanDocument | None, priced: list[Priced]) -> None:
    """What would be billed by customer, metric and period, its amounts, and what was no usage."""
    aside = any(tally.quarantined for tally in trial.tallies.values())
    numbers = ("Events", "Quantity", "Copies", "Late")
    show(
        ("Customer", "Metric", "Period", *numbers, *(("Set aside",) if aside else ())),
        [_row(place, trial.tallies[place], aside=aside) for place in sorted(trial.tallies)],
        right=numbers,
        empty="Nothing would be billed.",
    )
    if plan is not None:
        typer.echo(f"\nAt the prices of {plan.name}, in {plan.spec.currency}:")
        show(
            ("Customer", "Period", "Charge", "Quantity", "Amount"),
            [
                (line.customer, line.period, line.charge, shown.number(line.quantity), _amount(line, plan))
                for line in priced
            ],
            right=("Quantity", "Amount"),
            empty="No charges.",
        )
    useless = ", ".join(f"{count:,} {reason}" for reason, count in sorted(trial.unusable.items()))
    typer.echo(f"\n{trial.read:,} messages read" + (f"; no usage: {useless}" if useless else ""))


def _row(place: Place, tally: Tally, *, aside: bool) -> tuple[str, ...]:
    reasons = "\n".join(f"{count:,} {reason}" for reason, count in sorted(tally.quarantined.items()))
    counts = (f"{tally.events:,}", shown.number(tally.quantity), f"{tally.duplicates:,}", f"{tally.late:,}")
    return (place.customer, place.metric, place.period, *counts, *((reasons,) if aside else ()))


def _amount(line: Priced, plan: PlanDocument) -> str:
    if line.amount is None:
        return line.note
    return shown.number(line.amount, minor_units(plan.spec.currency))
