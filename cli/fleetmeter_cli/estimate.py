"""Estimate: what a quantity more would cost in a period, by a plan and what the period holds already."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from fleetmeter_cli.amount import number
from fleetmeter_cli.plans import read_plans
from fleetmeter_cli.problem import Problem
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import EXACT
from fleetmeter_rules.pricing import NoPriceError, price, version_for
from fleetmeter_rules.rounding import minor_units, money, round_amount


def estimate(file: Path, candidate: Mapping[str, Any], metric: str, quantity: str) -> str:
    """The difference that the quantity makes to the period's charges for the metric, as an amount.

    Charges by active device are left out, since only the ledger knows which devices were active. Raises
    Problem where the file does not hold the contract's plan.
    """
    plans = {each.plan.name: each.plan for each in read_plans(file) if each.plan is not None}
    plan = plans.get(candidate["plan"])
    if plan is None:
        raise Problem(
            f"{file} does not hold the plan {candidate['plan']} of the contract.",
            f"Name another file; this one has: {', '.join(sorted(plans)) or 'none'}.",
        )
    start, end = (datetime.fromisoformat(candidate[name]).astimezone(UTC) for name in ("start", "end"))
    try:
        version = version_for(plan.spec, Bounds(start, end, start.date()))
    except NoPriceError as error:
        raise Problem(f"{plan.name}: {error}.", "Name the file with the plan as it was then.") from None
    charges = [each for each in version.charges if each.metric == metric and each.measure == "Quantity"]
    booked, currency = Decimal(candidate["booked"]), plan.spec.currency
    with localcontext(EXACT):
        after = booked + Decimal(quantity)
        worth = sum(
            (
                round_amount(price(each, after).exact, currency)
                - round_amount(price(each, booked).exact, currency)
                for each in charges
            ),
            Decimal(0),
        )
    return f"{number(money(worth, currency), minor_units(currency))} {currency}"
