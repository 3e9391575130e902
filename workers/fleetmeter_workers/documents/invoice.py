"""The invoice document as this package reads it: the stored JSON, checked once."""

import msgspec


class Party(msgspec.Struct, frozen=True, rename="camel"):
    """The seller or the customer, as printed."""

    name: str
    address: list[str] | str = msgspec.field(default_factory=list[str])
    code: str | None = None
    tax_id: str | None = None
    email: str | None = None
    iban: str | None = None

    def address_lines(self) -> list[str]:
        """The postal address, one printed line each."""
        if isinstance(self.address, str):
            return [line for line in self.address.splitlines() if line.strip()]
        return list(self.address)


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """The pricing plan's version that priced this invoice."""

    name: str
    version: str | int
    hash: str = ""


class Period(msgspec.Struct, frozen=True, rename="camel"):
    """The half-open span [start, end) that is billed, and until when its usage counted."""

    billing_period: str
    start: str
    end: str
    time_zone: str
    cut_off: str
    grace_seconds: int = 0
    late_usage: str = "Grace"


class Tier(msgspec.Struct, frozen=True, rename="camel"):
    """One priced step of a line; `up_to` is None on the open last step."""

    quantity: str
    unit_price: str
    amount: str
    from_: str = msgspec.field(name="from", default="0")
    up_to: str | None = None
    flat_fee: str | None = None


class DeviceShare(msgspec.Struct, frozen=True, rename="camel"):
    """One device's part of a line; the parts sum to the line."""

    device: str
    quantity: str
    amount: str
    events: int = 0
    first_event: str | None = None
    last_event: str | None = None


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One charge: what was measured, the steps that priced it, and its split over devices."""

    charge: str
    metric: str
    model: str
    quantity: str
    amount: str
    exact: str
    unit: str = ""
    measure: str = "Quantity"
    description: str | None = None
    events: int = 0
    devices: int = 0
    tiers: list[Tier] = msgspec.field(default_factory=list[Tier])
    by_device: list[DeviceShare] = msgspec.field(default_factory=list[DeviceShare])


class Adjustment(msgspec.Struct, frozen=True, rename="camel"):
    """What late usage changes of an earlier period's charge; settled here. `booked_quantity` and
    `booked_amount` are what was invoiced of it before, `invoice` is that period's own."""

    charge: str
    metric: str
    billing_period: str
    start: str
    end: str
    plan_version: str
    invoice: str
    quantity: str
    amount: str
    exact: str
    booked_quantity: str
    booked_amount: str
    contract: str = ""
    unit: str = ""
    measure: str = "Quantity"
    description: str | None = None
    events: int = 0
    devices: int = 0
    by_device: list[DeviceShare] = msgspec.field(default_factory=list[DeviceShare])


class Amends(msgspec.Struct, frozen=True, rename="camel"):
    """The invoice whose lines an amended one replaces, and their amount, which is credited in full."""

    number: str
    version: int
    issue_date: str
    amount: str


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    """The frozen set of usage rows that the invoice was computed from."""

    digest: str
    events: int = 0


class Invoice(msgspec.Struct, frozen=True, rename="camel"):
    """The whole document; amounts and quantities are decimal strings."""

    number: str
    issue_date: str
    currency: str
    seller: Party
    customer: Party
    contract: str
    plan: Plan
    period: Period
    subtotal: str
    total: str
    snapshot: Snapshot
    version: int = 1
    revision: int = 1
    amends: Amends | None = None
    region: str = ""
    jurisdiction: str = ""
    events: int = 0
    lines: list[Line] = msgspec.field(default_factory=list[Line])
    adjustments: list[Adjustment] = msgspec.field(default_factory=list[Adjustment])


def read_invoice(document: bytes) -> Invoice:
    """Read stored invoice bytes. Raises ValueError naming the field that is missing or of the wrong type."""
    try:
        return msgspec.json.decode(document, type=Invoice)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is not an invoice document: {error}") from error
