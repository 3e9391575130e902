"""Estimate: what a set-aside item would cost in a period, by a plan and what the period holds already."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final

from fleetmeter_cli import amount as shown
from fleetmeter_cli.plans import read_plans
from fleetmeter_cli.problem import Problem
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import EXACT
from fleetmeter_rules.pricing import NoPriceError, price, version_for
from fleetmeter_rules.rounding import minor_units, round_amount

_WORTHLESS: Final = {
    "Cumulative": "nothing of its own: the register's next reading holds it",
    "Gauge": "nothing of its own: a level does not add up",
    None: "nothing: the region does not declare the metric",
}


def estimate(file: Path, candidate: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """The difference that the item makes to the period's charges for its metric, or why none can be told.

    Charges by active device are left out, and said to be: only the ledger knows which devices were active.
    Raises Problem where the file does not hold the contract's plan.
    """
    if item["kind"] != "Delta":
        return _WORTHLESS[item["kind"]]
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
    own = [each for each in version.charges if each.metric == item["metric"]]
    charges = [each for each in own if each.measure == "Quantity"]
    booked, currency = Decimal(candidate["booked"]), plan.spec.currency
    with localcontext(EXACT):
        after = booked + Decimal(item["quantity"])
        worth = sum(
            (
                round_amount(price(each, after).exact, currency)
                - round_amount(price(each, booked).exact, currency)
                for each in charges
            ),
            Decimal(0),
        )
    amount = shown.money(worth, currency, minor_units(currency))
    return amount if charges == own else f"{amount}, and its active device if that is new in the period"
