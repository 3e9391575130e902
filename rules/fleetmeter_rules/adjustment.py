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
    `late`: what is new; a quantity below 0 takes booked usage back. `contract` and `invoice` name the
    contract of the period and its last invoice.
    """

    billing_period: str
    period: Bounds
    plan: PlanVersion
    booked: Sequence[DeviceUsage]
    amounts: Mapping[str, Decimal]
    late: Sequence[DeviceUsage]
    contract: str = ""
    invoice: str = ""

    @property
    def events(self) -> int:
        """How many rows are new."""
        return sum(entry.events for entry in self.late)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One charge's difference for one earlier period; negative where usage is taken back or where more of it
    costs less. `booked`: the charge's quantity and amount before."""

    late: LatePeriod
    charge: Charge
    unit: str
    quantity: Decimal
    events: int
    exact: Decimal
    amount: Decimal
    devices: tuple[DeviceShare, ...]
    booked_quantity: Decimal
    booked_amount: Decimal


def adjust(late: LatePeriod, units: Mapping[str, str], currency: str) -> tuple[Adjustment, ...]:
    """The adjustments of a period, a charge each that the late usage touches, in the plan's order; first what
    is added, then what is taken back.

    The whole of the period's usage is rated again; the adjustment is the rounded new amount less what is
    booked already. So slices, whatever their number and order, end in the same sum as one invoice of
    everything.
    """
    added = [entry for entry in late.late if entry.quantity >= 0]
    taken = [entry for entry in late.late if entry.quantity < 0]
    first = _adjustments(late, late.booked, late.amounts, added, units, currency)
    amounts = dict(late.amounts)
    with localcontext(EXACT):
        for each in first:
            amounts[each.charge.name] = each.booked_amount + each.amount
    return (*first, *_adjustments(late, [*late.booked, *added], amounts, taken, units, currency))


def _adjustments(
    late: LatePeriod,
    booked: Sequence[DeviceUsage],
    amounts: Mapping[str, Decimal],
    new: Sequence[DeviceUsage],
    units: Mapping[str, str],
    currency: str,
) -> tuple[Adjustment, ...]:
    touched = {entry.metric for entry in new}
    return tuple(
        _adjustment(late, charge, booked, amounts.get(charge.name, Decimal(0)), new, units, currency)
        for charge in late.plan.charges
        if charge.metric in touched
    )


def _adjustment(
    late: LatePeriod,
    charge: Charge,
    booked: Sequence[DeviceUsage],
    booked_amount: Decimal,
    new: Sequence[DeviceUsage],
    units: Mapping[str, str],
    currency: str,
) -> Adjustment:
    before = measured(charge, booked, units)
    after = measured(charge, [*booked, *new], units)
    own = measured(charge, new, units)
    old_price, new_price = price(charge, before.quantity), price(charge, after.quantity)
    with localcontext(EXACT):
        exact = new_price.exact - old_price.exact
        amount = round_amount(new_price.exact, currency) - booked_amount
        quantity = after.quantity - before.quantity
    known = {entry.alias for entry in before.devices}
    counts_devices = charge.measure == "ActiveDevices"
    weights = {
        alias: Decimal(0) if counts_devices and alias in known else abs(weight)
        for alias, weight in own.weights.items()
    }
    shares = allocate(amount, weights, minor_unit(currency))
    devices = tuple(DeviceShare(entry, shares[entry.alias]) for entry in own.devices)
    return Adjustment(
        late,
        charge,
        after.unit,
        quantity,
        own.events,
        exact,
        amount,
        devices,
        before.quantity,
        booked_amount,
    )
