"""The invoice's page: a pure function from the invoice's JSON bytes to one self-contained HTML document."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from . import dates
from .invoice import Adjustment, Amends, DeviceShare, Invoice, Line, Tier, read_invoice
from .money import money, number, places

_SHOWN_DEVICES = 8


@dataclass(frozen=True)
class Step:
    """One row of how a line was priced."""

    label: str
    sum: str
    amount: str


@dataclass(frozen=True)
class DeviceRow:
    """One device's row below a line; a folded one shows on demand on screen, and always in print."""

    name: str
    first: str
    last: str
    quantity: str
    amount: str
    folded: bool


@dataclass(frozen=True)
class AmendsView:
    """The invoice that this one amends, and the credit of its charges."""

    number: str
    version: int
    issued: str
    credit: str


@dataclass(frozen=True)
class LineView:
    """One charge as printed, or late usage of an earlier period's charge; `exact` is empty where rounding
    changed nothing.

    `counted` heads the column of the devices' part in it, which adds up to `devices_sum`.
    """

    title: str
    detail: str
    quantity: str
    amount: str
    steps: list[Step]
    exact: str
    counted: str
    devices_sum: str
    devices: list[DeviceRow]
    folded: int


def render_page(document: bytes) -> str:
    """The HTML page of a stored invoice. Raises ValueError for bytes that are no invoice."""
    invoice = read_invoice(document)
    return _template().render(_context(invoice))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fleetmeter_workers.documents", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("invoice.html")


def _context(invoice: Invoice) -> dict[str, object]:
    zone = ZoneInfo(invoice.period.time_zone)
    start = dates.instant(invoice.period.start, zone)
    end = dates.instant(invoice.period.end, zone)
    least = places(invoice.total)
    lines = [_line(line, invoice.currency, least, zone) for line in invoice.lines]
    late = [
        _adjustment(entry, invoice.currency, least, zone)
        for entry in invoice.adjustments
        # A device that was active already changes nothing of a charge by devices.
        if Decimal(entry.quantity) or Decimal(entry.amount)
    ]
    total = Decimal(invoice.total)
    return {
        "invoice": invoice,
        "seller": invoice.seller,
        "customer": invoice.customer,
        "title": "Amended invoice" if invoice.amends else "Invoice",
        "amends": None if invoice.amends is None else _amends(invoice.amends, invoice.currency, least, zone),
        "issued": dates.day(dates.instant(invoice.issue_date, zone).date()),
        "span": dates.span(start, end),
        "start": dates.moment(start),
        "end": dates.moment(end),
        "zone": invoice.period.time_zone,
        "cut_off": dates.moment(dates.instant(invoice.period.cut_off, zone)),
        "grace": dates.duration(invoice.period.grace_seconds) if invoice.period.grace_seconds else "",
        "late_rule": _late_rule(invoice.period.late_usage),
        "events": _count(invoice.events, "usage event"),
        "lines": lines,
        "late": late,
        "by_device": [each for each in (*lines, *late) if each.devices],
        "is_long": any(each.folded for each in (*lines, *late)),
        "adjustments": money(str(_sum(invoice.adjustments)), invoice.currency, least) if late else "",
        "subtotal": money(invoice.subtotal, invoice.currency, least),
        "total": money(invoice.total, invoice.currency, least),
        "difference": money(str(abs(total)), invoice.currency, least),
        "sign": (total > 0) - (total < 0),
    }


def _sum(adjustments: list[Adjustment]) -> Decimal:
    return sum((Decimal(entry.amount) for entry in adjustments), Decimal(0))


def _amends(amends: Amends, currency: str, least: int, zone: ZoneInfo) -> AmendsView:
    return AmendsView(
        number=amends.number,
        version=amends.version,
        issued=dates.day(dates.instant(amends.issue_date, zone).date()),
        credit=money(str(-Decimal(amends.amount)), currency, least),
    )


def _late_rule(policy: str) -> str:
    if policy == "Defer":
        return "Usage that arrived later is settled on a later invoice, as a line that names this period."
    if policy == "Reopen":
        return "Usage that arrived later leads to an amended version of this invoice."
    return "Usage that arrived later is set aside with its evidence and is not on this invoice."


def _line(line: Line, currency: str, least: int, zone: ZoneInfo) -> LineView:
    unit = "active device" if line.measure == "ActiveDevices" else (line.unit or line.metric)
    devices = [_device(share, line, index, currency, zone) for index, share in enumerate(line.by_device)]
    total = _count(line.devices or len(line.by_device), "device")
    quantity = f"{number(line.quantity)} {_plural(unit, line.quantity)}"
    return LineView(
        title=line.description or line.charge,
        detail=f"{_count(line.events, 'event')} from {total} · {_model(line.model)}",
        quantity=quantity,
        amount=money(line.amount, currency, least),
        steps=[
            _step(tier, line, currency, least)
            for tier in line.tiers
            if Decimal(tier.quantity) or _has_fee(tier)
        ],
        exact=money(line.exact, currency, least) if Decimal(line.exact) != Decimal(line.amount) else "",
        counted="Events" if line.measure == "ActiveDevices" else "Quantity",
        devices_sum=number(line.events) if line.measure == "ActiveDevices" else quantity,
        devices=devices,
        folded=sum(1 for row in devices if row.folded),
    )


def _adjustment(entry: Adjustment, currency: str, least: int, zone: ZoneInfo) -> LineView:
    """What late usage changes: its month first, then what was invoiced of it before and what it comes to."""
    counts_devices = entry.measure == "ActiveDevices"
    unit = "active device" if counts_devices else (entry.unit or entry.metric)
    before, change = Decimal(entry.booked_quantity), Decimal(entry.quantity)
    amount, now = money(entry.amount, currency, least), Decimal(entry.booked_amount) + Decimal(entry.amount)
    month = dates.span(dates.instant(entry.start, zone), dates.instant(entry.end, zone))
    quantity = f"{number(entry.quantity)} {_plural(unit, entry.quantity)}"
    devices = [_device(share, entry, index, currency, zone) for index, share in enumerate(entry.by_device)]
    what = "Taken back" if change < 0 else "Received late"
    return LineView(
        title=f"{entry.description or entry.charge}, {month}",
        detail=f"{what}, after invoice {entry.invoice} · {_count(entry.events, 'event')} from "
        f"{_count(entry.devices, 'device')} · at prices of version {entry.plan_version}",
        quantity=quantity,
        amount=amount,
        steps=[
            Step(
                "Invoiced before",
                f"{number(entry.booked_quantity)} {_plural(unit, entry.booked_quantity)}",
                money(entry.booked_amount, currency, least),
            ),
            Step(
                "Without this usage" if change < 0 else "With this usage",
                f"{number(str(before + change))} {_plural(unit, str(before + change))}",
                money(str(now), currency, least),
            ),
        ],
        exact="",
        counted="Events" if counts_devices else "Quantity",
        devices_sum=number(entry.events) if counts_devices else quantity,
        devices=devices,
        folded=sum(1 for row in devices if row.folded),
    )


def _model(model: str) -> str:
    return {
        "PerUnit": "one price per unit",
        "Graduated": "each step at its own price",
        "Volume": "the step reached sets the price of every unit",
    }.get(model, model)


def _step(tier: Tier, line: Line, currency: str, least: int) -> Step:
    price = money(tier.unit_price, currency, least)
    text = f"{number(tier.quantity)} × {price}"
    if tier.flat_fee is not None and _has_fee(tier):
        text += f" + {money(tier.flat_fee, currency, least)}"
    return Step(label=_step_label(tier, line), sum=text, amount=money(tier.amount, currency, least))


def _has_fee(tier: Tier) -> bool:
    return tier.flat_fee is not None and Decimal(tier.flat_fee) != 0


def _step_label(tier: Tier, line: Line) -> str:
    starts_at_zero = Decimal(tier.from_) == 0
    if line.model == "PerUnit" or (starts_at_zero and tier.up_to is None):
        return "All units"
    bounds = [] if starts_at_zero else [f"above {number(tier.from_)}"]
    bounds += [] if tier.up_to is None else [f"up to {number(tier.up_to)}"]
    if line.model == "Volume":
        return f"All units, at the step {', '.join(bounds)}"
    if tier.up_to is None:
        return f"Everything above {number(tier.from_)}"
    return f"First {number(tier.up_to)}" if starts_at_zero else f"Next units, {', '.join(bounds)}"


def _device(
    share: DeviceShare, line: Line | Adjustment, index: int, currency: str, zone: ZoneInfo
) -> DeviceRow:
    return DeviceRow(
        name=share.device,
        first=dates.short(dates.instant(share.first_event, zone)) if share.first_event else "",
        last=dates.short(dates.instant(share.last_event, zone)) if share.last_event else "",
        quantity=number(share.events if line.measure == "ActiveDevices" else share.quantity),
        amount=money(share.amount, currency, places(line.amount)),
        folded=len(line.by_device) > _SHOWN_DEVICES + 2 and index >= _SHOWN_DEVICES,
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {_plural(noun, str(count))}"


def _plural(noun: str, quantity: str) -> str:
    if abs(Decimal(quantity)) == 1 or noun.endswith("s") or len(noun) < 4:
        return noun
    return f"{noun}s"
