"""Usage: what devices used of the metrics in a period, and what a charge measures of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext

from fleetmeter_api.plan import Charge
from fleetmeter_rules.number import EXACT


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """A device's billed usage of one metric in the period; `alias` is what the invoice shows, no hardware
    id."""

    alias: str
    metric: str
    quantity: Decimal
    events: int
    first_event: datetime
    last_event: datetime


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """A device's part of a line; the amounts of a line's devices sum to the line."""

    usage: DeviceUsage
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Measured:
    """What a charge counts: a quantity in a unit, from these devices, sorted by alias."""

    quantity: Decimal
    unit: str
    events: int
    devices: tuple[DeviceUsage, ...]
    weights: Mapping[str, Decimal]


def measured(charge: Charge, usage: Iterable[DeviceUsage], units: Mapping[str, str]) -> Measured:
    """The charge's quantity: of its metric, or the devices with at least one billed event of it.

    A device that is given several times is one device.
    """
    own = _by_device([entry for entry in usage if entry.metric == charge.metric and entry.events > 0])
    with localcontext(EXACT):
        if charge.measure == "ActiveDevices":
            weights = {entry.alias: Decimal(1) for entry in own}
        else:
            weights = {entry.alias: entry.quantity for entry in own}
        quantity = sum(weights.values(), Decimal(0))
    unit = "devices" if charge.measure == "ActiveDevices" else units.get(charge.metric, "")
    return Measured(quantity, unit, sum(entry.events for entry in own), own, weights)


def _by_device(usage: Sequence[DeviceUsage]) -> tuple[DeviceUsage, ...]:
    merged: dict[str, DeviceUsage] = {}
    with localcontext(EXACT):
        for entry in usage:
            known = merged.get(entry.alias)
            merged[entry.alias] = entry if known is None else _sum(known, entry)
    return tuple(sorted(merged.values(), key=lambda entry: entry.alias.encode()))


def _sum(one: DeviceUsage, other: DeviceUsage) -> DeviceUsage:
    return replace(
        one,
        quantity=one.quantity + other.quantity,
        events=one.events + other.events,
        first_event=min(one.first_event, other.first_event),
        last_event=max(one.last_event, other.last_event),
    )
