"""Adjustment: usage that came after its period was invoiced, at its own period's prices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from fleetmeter_api.plan import Charge, PlanVersion
from fleetmeter_rules.allocation import allocate
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import EXACT
from fleetmeter_rules.pricing import price
from fleetmeter_rules.rounding import minor_unit, round_amount
from fleetmeter_rules.usage import DeviceShare, DeviceUsage, measured


@dataclass(frozen=True, slots=True)
class LatePeriod:
    """A period that late usage belongs to.

    `plan`: the version that priced it. `booked`: its usage that is invoiced by now, of all invoices and
    adjustments so far; `amounts`: what was invoiced for it so far by charge, 0 where a charge is absent.
    `late`: what is new.
    """

    billing_period: str
    period: Bounds
    plan: PlanVersion
    booked: Sequence[DeviceUsage]
    amounts: Mapping[str, Decimal]
    late: Sequence[DeviceUsage]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One charge's difference for one earlier period; negative where more usage costs less."""

    late: LatePeriod
    charge: Charge
    unit: str
    quantity: Decimal
    events: int
    exact: Decimal
    amount: Decimal
    devices: tuple[DeviceShare, ...]


def adjust(late: LatePeriod, units: Mapping[str, str], currency: str) -> tuple[Adjustment, ...]:
    """The adjustments of a period, a charge each that the late usage touches, in the plan's order.

    The whole of the period's usage is rated again; the adjustment is the rounded new amount less what is
    booked already. So slices, whatever their number and order, end in the same sum as one invoice of
    everything.
    """
    return tuple(
        _adjustment(late, charge, units, currency)
        for charge in late.plan.charges
        if any(entry.metric == charge.metric for entry in late.late)
    )


def _adjustment(late: LatePeriod, charge: Charge, units: Mapping[str, str], currency: str) -> Adjustment:
    before = measured(charge, late.booked, units)
    after = measured(charge, [*late.booked, *late.late], units)
    new = measured(charge, late.late, units)
    old_price, new_price = price(charge, before.quantity), price(charge, after.quantity)
    with localcontext(EXACT):
        exact = new_price.exact - old_price.exact
        amount = round_amount(new_price.exact, currency) - late.amounts.get(charge.name, Decimal(0))
        quantity = after.quantity - before.quantity
    known = {entry.alias for entry in before.devices}
    counts_devices = charge.measure == "ActiveDevices"
    weights = {
        alias: Decimal(0) if counts_devices and alias in known else weight
        for alias, weight in new.weights.items()
    }
    shares = allocate(amount, weights, minor_unit(currency))
    devices = tuple(DeviceShare(entry, shares[entry.alias]) for entry in new.devices)
    return Adjustment(late, charge, after.unit, quantity, new.events, exact, amount, devices)
