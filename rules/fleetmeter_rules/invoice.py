"""Invoice: drawn up from billed usage and a plan; the same input in any order gives the same bytes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Final

from fleetmeter_api.contract import Customer, LateUsagePolicy, Seller
from fleetmeter_api.plan import Charge, PlanVersion
from fleetmeter_rules.adjustment import Adjustment, LatePeriod, adjust
from fleetmeter_rules.allocation import allocate
from fleetmeter_rules.calendar import Bounds, zone_of
from fleetmeter_rules.instant import rfc3339
from fleetmeter_rules.number import EXACT, plain
from fleetmeter_rules.pricing import Price, price
from fleetmeter_rules.rounding import minor_unit, money, round_amount
from fleetmeter_rules.usage import DeviceShare, DeviceUsage, measured

SCHEMA: Final = "fleetmeter.io/invoice/v1"
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Amends:
    """The invoice that an amended one replaces: its number, version, date, and the amount of its lines, which
    is credited in full."""

    number: str
    version: int
    issue_date: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands over the lines. `number` and `version` come from the region's series; nothing from a
    clock. `revision`: up to which one the rows are billed; `amends`: what a version after the first
    replaces; its `cut_off` is that of the amendment."""

    number: str
    series: str
    region: str
    jurisdiction: str
    currency: str
    seller: Seller
    customer: Customer
    contract: str
    plan: str
    plan_hash: str
    billing_period: str
    period: Bounds
    time_zone: str
    cut_off: datetime
    grace: timedelta
    late_usage: LateUsagePolicy
    version: int = 1
    revision: int = 1
    amends: Amends | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen rows that the invoice was drawn up from: how many, and their digest."""

    events: int
    digest: str


@dataclass(frozen=True, slots=True)
class Line:
    """One charge: its measured quantity, its exact price, its rounded amount and its devices."""

    charge: Charge
    unit: str
    quantity: Decimal
    events: int
    price: Price
    amount: Decimal
    devices: tuple[DeviceShare, ...]


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice, complete: `document` gives its JSON, `canonical_bytes` its bytes.

    `subtotal`: the sum of its lines. `total`: what it asks for, or gives back where it is below 0: lines and
    adjustments, less the lines of the invoice that it amends.
    """

    heading: Heading
    plan_version: str
    issue_date: date
    lines: tuple[Line, ...]
    adjustments: tuple[Adjustment, ...]
    subtotal: Decimal
    total: Decimal
    snapshot: Snapshot

    @property
    def events(self) -> int:
        """Billed events of the period, each once."""
        return self.snapshot.events


class SnapshotMismatchError(ValueError):
    """The usage that was handed over does not add up to the snapshot; nothing may be invoiced from it."""


def draw_up(
    heading: Heading,
    plan: PlanVersion,
    units: Mapping[str, str],
    usage: Iterable[DeviceUsage],
    snapshot: Snapshot,
    late: Iterable[LatePeriod] = (),
) -> Invoice:
    """The invoice of a contract period: a line a charge, in the plan's order, also for a charge without
    usage.

    `units`: the unit of each metric that the region declares. `usage`: one entry a device and metric. `late`:
    what belongs to earlier periods and is billed here, as adjustments. Each line is exact until it is rounded
    once, half away from zero; the total is the sum of the rounded lines and adjustments, less the lines that
    it amends. Raises SnapshotMismatchError where the usage's events are not the snapshot's,
    UnknownCurrencyError, and ValueError for an entry given twice.
    """
    entries = tuple(usage)
    periods = sorted(late, key=lambda period: period.period.start)
    for given in (entries, *(period.late for period in periods)):
        keys = [(entry.alias, entry.metric, entry.quantity < 0) for entry in given]
        if len(set(keys)) != len(keys):
            raise ValueError("a device's usage of a metric is given twice; sum it before")
    events = sum(entry.events for given in (entries, *(p.late for p in periods)) for entry in given)
    if events != snapshot.events:
        raise SnapshotMismatchError(
            f"usage of {events} events, but a snapshot of {snapshot.events}; nothing was invoiced"
        )
    lines = tuple(_line(charge, units, entries, heading.currency) for charge in plan.charges)
    adjustments = tuple(a for period in periods for a in adjust(period, units, heading.currency))
    with localcontext(EXACT):
        subtotal = sum((line.amount for line in lines), _ZERO)
        total = sum((adjustment.amount for adjustment in adjustments), subtotal)
        if heading.amends is not None:
            total -= heading.amends.amount
    issued = heading.cut_off.astimezone(zone_of(heading.time_zone)).date()
    return Invoice(heading, plan.version, issued, lines, adjustments, subtotal, total, snapshot)


def _line(charge: Charge, units: Mapping[str, str], usage: Iterable[DeviceUsage], currency: str) -> Line:
    own = measured(charge, usage, units)
    priced = price(charge, own.quantity)
    amount = round_amount(priced.exact, currency)
    shares = allocate(amount, own.weights, minor_unit(currency))
    devices = tuple(DeviceShare(entry, shares[entry.alias]) for entry in own.devices)
    return Line(charge, own.unit, own.quantity, own.events, priced, amount, devices)


def document(invoice: Invoice) -> dict[str, Any]:
    """The invoice as JSON values: amounts and quantities are decimal strings, instants RFC 3339 in UTC."""
    head = invoice.heading
    return _amends_document(invoice) | {
        "schema": SCHEMA,
        "number": head.number,
        "version": head.version,
        "series": head.series,
        "region": head.region,
        "jurisdiction": head.jurisdiction,
        "issueDate": invoice.issue_date.isoformat(),
        "currency": head.currency,
        "seller": head.seller.wire(),
        "customer": {key: value for key, value in head.customer.wire().items() if key != "email"},
        "contract": head.contract,
        "plan": {"name": head.plan, "version": invoice.plan_version, "hash": head.plan_hash},
        "period": {
            "billingPeriod": head.billing_period,
            "start": rfc3339(head.period.start),
            "end": rfc3339(head.period.end),
            "timeZone": head.time_zone,
            "cutOff": rfc3339(head.cut_off),
            "graceSeconds": head.grace // timedelta(seconds=1),
            "lateUsage": head.late_usage,
        },
        "events": invoice.events,
        "lines": [_line_document(line, head.currency) for line in invoice.lines],
        "adjustments": [_adjustment_document(a, head.currency) for a in invoice.adjustments],
        "subtotal": money(invoice.subtotal, head.currency),
        "total": money(invoice.total, head.currency),
        "snapshot": {"events": invoice.snapshot.events, "digest": invoice.snapshot.digest},
    }


def _amends_document(invoice: Invoice) -> dict[str, Any]:
    """What only an amended invoice says."""
    head = invoice.heading
    if head.amends is None:
        return {}
    return {
        "revision": head.revision,
        "amends": {
            "number": head.amends.number,
            "version": head.amends.version,
            "issueDate": head.amends.issue_date.isoformat(),
            "amount": money(head.amends.amount, head.currency),
        },
    }


def canonical_bytes(invoice: Invoice) -> bytes:
    """The document's one JSON text: sorted keys, no spaces, UTF-8, no line end."""
    return json.dumps(document(invoice), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def price_document(price: Price) -> dict[str, Any]:
    """How a line's amount comes about, as JSON values: its tiers, and their sum before it is rounded."""
    return {
        "tiers": [
            {
                "from": plain(tier.start),
                "upTo": None if tier.up_to is None else plain(tier.up_to),
                "quantity": plain(tier.quantity),
                "unitPrice": plain(tier.unit_price),
                "flatFee": plain(tier.flat_fee),
                "amount": plain(tier.amount),
            }
            for tier in price.tiers
        ],
        "exact": plain(price.exact),
    }


def _line_document(line: Line, currency: str) -> dict[str, Any]:
    return {
        "charge": line.charge.name,
        "description": line.charge.description or "",
        "metric": line.charge.metric,
        "unit": line.unit,
        "model": line.charge.model,
        "measure": line.charge.measure,
        "quantity": plain(line.quantity),
        "events": line.events,
        "devices": len(line.devices),
        **price_document(line.price),
        "amount": money(line.amount, currency),
        "byDevice": [_share_document(share, currency) for share in line.devices],
    }


def _adjustment_document(adjustment: Adjustment, currency: str) -> dict[str, Any]:
    late = adjustment.late
    return {
        "billingPeriod": late.billing_period,
        "contract": late.contract,
        "invoice": late.invoice,
        "start": rfc3339(late.period.start),
        "end": rfc3339(late.period.end),
        "planVersion": late.plan.version,
        "charge": adjustment.charge.name,
        "description": adjustment.charge.description or "",
        "metric": adjustment.charge.metric,
        "unit": adjustment.unit,
        "measure": adjustment.charge.measure,
        "quantity": plain(adjustment.quantity),
        "bookedQuantity": plain(adjustment.booked_quantity),
        "bookedAmount": money(adjustment.booked_amount, currency),
        "events": adjustment.events,
        "devices": len(adjustment.devices),
        "exact": plain(adjustment.exact),
        "amount": money(adjustment.amount, currency),
        "byDevice": [_share_document(share, currency) for share in adjustment.devices],
    }


def _share_document(share: DeviceShare, currency: str) -> dict[str, Any]:
    usage = share.usage
    return {
        "device": usage.alias,
        "quantity": plain(usage.quantity),
        "events": usage.events,
        "amount": money(share.amount, currency),
        "firstEvent": rfc3339(usage.first_event),
        "lastEvent": rfc3339(usage.last_event),
    }
