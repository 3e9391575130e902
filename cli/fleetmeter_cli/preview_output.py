"""Preview's output: what would be billed, as a table for people or JSON for programs."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any, TypeAlias

import typer

from fleetmeter_api.plan import Charge, PlanDocument
from fleetmeter_cli import amount as shown
from fleetmeter_cli.table import show
from fleetmeter_cli.tally import Place, Tally, Usage
from fleetmeter_cli.trial import Trial
from fleetmeter_rules.number import EXACT, plain
from fleetmeter_rules.pricing import NoPriceError, price, version_for
from fleetmeter_rules.rounding import minor_units, money, round_amount


@dataclass(frozen=True, slots=True)
class Priced:
    """One charge of a customer's period at the plan's prices; `belongs_to`: the earlier period whose usage it
    adjusts. `amount` is None where the plan has no price, `note` says why."""

    customer: str
    period: str
    belongs_to: str | None
    charge: str
    quantity: Decimal
    amount: Decimal | None
    note: str = ""


@dataclass(slots=True)
class _Invoiced:
    """What a charge of one month was invoiced for so far."""

    quantity: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    devices: set[str] = field(default_factory=set[str])

    def add(self, charge: Charge, usage: Usage | None, currency: str) -> tuple[Decimal, Decimal]:
        """By how much the usage changes the charge's quantity and amount: all is rated again."""
        before, paid = self.quantity, self.amount
        with localcontext(EXACT):
            if usage is not None:
                self.devices |= usage.devices
                by_quantity = charge.measure == "Quantity"
                self.quantity = before + usage.quantity if by_quantity else Decimal(len(self.devices))
            self.amount = round_amount(price(charge, self.quantity).exact, currency)
            return self.quantity - before, self.amount - paid


_Month: TypeAlias = dict[str, Usage]
"""Usage of one period by metric."""


def priced_of(trial: Trial, plan: PlanDocument) -> list[Priced]:
    """Every charge of the plan for each customer's periods, and what late usage of earlier ones changes."""
    months: dict[tuple[str, str], dict[str, Tally]] = defaultdict(dict)
    for place, tally in trial.tallies.items():
        if tally.events:
            months[place.customer, place.period][place.metric] = tally
    lines: list[Priced] = []
    invoiced: dict[tuple[str, str, str], _Invoiced] = defaultdict(_Invoiced)
    for (customer, period), tallies in sorted(months.items()):
        own = {metric: tally.own for metric, tally in tallies.items()}
        late: dict[str, _Month] = defaultdict(dict)
        for metric, tally in tallies.items():
            for name, usage in tally.deferred.items():
                late[name][metric] = usage
        for belongs_to, usages in ((None, own), *sorted(late.items())):
            lines += _charged(
                Priced(customer, period, belongs_to, "", Decimal(0), None), usages, plan, invoiced
            )
    return lines


def _charged(
    place: Priced, usages: _Month, plan: PlanDocument, invoiced: dict[tuple[str, str, str], _Invoiced]
) -> list[Priced]:
    """The lines of a period's usage where it is billed; of late usage only the charges that it touches."""
    try:
        version = version_for(plan.spec, next(iter(usages.values())).bounds)
    except NoPriceError as error:
        return [replace(place, note=str(error))]
    lines: list[Priced] = []
    for charge in version.charges:
        if place.belongs_to is None or charge.metric in usages:
            before = invoiced[place.customer, place.belongs_to or place.period, charge.name]
            quantity, amount = before.add(charge, usages.get(charge.metric), plan.spec.currency)
            lines.append(replace(place, charge=charge.name, quantity=quantity, amount=amount))
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
        found["amounts"] = [_amount_document(line, plan.spec.currency) for line in priced]
    return found


def _amount_document(line: Priced, currency: str) -> dict[str, Any]:
    found = {
        "customer": line.customer,
        "period": line.period,
        "charge": line.charge,
        "quantity": plain(line.quantity),
        "amount": None if line.amount is None else money(line.amount, currency),
    }
    return found if line.belongs_to is None else found | {"belongs_to": line.belongs_to}


def _period_document(place: Place, tally: Tally) -> dict[str, Any]:
    found: dict[str, Any] = {
        "customer": place.customer,
        "metric": place.metric,
        "period": place.period,
        "events": tally.events,
        "duplicates": tally.duplicates,
        "late": tally.late,
        "quarantined": dict(sorted(tally.quarantined.items())),
        "quantity": plain(tally.quantity),
    }
    if tally.amended:
        found["amended"] = tally.amended
    if tally.deferred:
        found["deferred"] = [
            {"belongs_to": name, "events": usage.events, "quantity": plain(usage.quantity)}
            for name, usage in sorted(tally.deferred.items())
        ]
    return found


def print_tables(trial: Trial, plan: PlanDocument | None, priced: list[Priced]) -> None:
    """What would be billed by customer, metric and period, its amounts, and what was no usage."""
    places = sorted(trial.tallies.items())
    extra = {
        "After the cut-off": [_after(tally) for _, tally in places],
        "Set aside": [_lines(tally.quarantined) for _, tally in places],
    }
    # A narrow terminal has no room for a column that is empty.
    more = {name: cells for name, cells in extra.items() if any(cells)}
    numbers = ("Events", "Quantity", "Copies", "Late")
    show(
        ("Customer", "Metric", "Period", *numbers, *more),
        [
            (*_row(place, tally), *(cells[row] for cells in more.values()))
            for row, (place, tally) in enumerate(places)
        ],
        right=numbers,
        empty="Nothing would be billed.",
    )
    if plan is not None:
        typer.echo(f"\nAt the prices of {plan.name}, in {plan.spec.currency}:")
        show(
            ("Customer", "Period", "Charge", "Quantity", "Amount"),
            [
                (line.customer, _period(line), line.charge, shown.number(line.quantity), _amount(line, plan))
                for line in priced
            ],
            right=("Quantity", "Amount"),
            empty="No charges.",
        )
    useless = ", ".join(f"{count:,} {reason}" for reason, count in sorted(trial.unusable.items()))
    typer.echo(f"\n{trial.read:,} messages read" + (f"; no usage: {useless}" if useless else ""))


def _row(place: Place, tally: Tally) -> tuple[str, ...]:
    counts = (f"{tally.events:,}", shown.number(tally.quantity), f"{tally.duplicates:,}", f"{tally.late:,}")
    return (place.customer, place.metric, place.period, *counts)


def _after(tally: Tally) -> str:
    """What is billed here though it came when its month was final already."""
    deferred = {f"of {name}": usage.events for name, usage in tally.deferred.items()}
    return _lines(deferred | ({"amend it": tally.amended} if tally.amended else {}))


def _lines(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def _period(line: Priced) -> str:
    return line.period if line.belongs_to is None else f"{line.period}, of {line.belongs_to}"


def _amount(line: Priced, plan: PlanDocument) -> str:
    if line.amount is None:
        return line.note
    return shown.number(line.amount, minor_units(plan.spec.currency))
