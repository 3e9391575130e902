"""Tally: what came to one customer's period of a metric, and what its registers and levels amount to."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from fleetmeter_api.region import Metric
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.instant import EPOCH
from fleetmeter_rules.metering import Booking, level, register_of, settled
from fleetmeter_rules.number import EXACT


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an item counts: a customer, a metric, and the first day of a period."""

    customer: str
    metric: str
    period: str


@dataclass(slots=True)
class Usage:
    """Billed usage of the period `bounds`. The quantity of a register or a level is known once all messages
    were taken; a level that came late changes its period's by it, downwards too."""

    bounds: Bounds
    events: int = 0
    quantity: Decimal = Decimal(0)
    devices: set[str] = field(default_factory=set[str])

    def add(self, device: str, quantity: Decimal) -> None:
        """Count one event."""
        self.events += 1
        self.devices.add(device)
        with localcontext(EXACT):
            self.quantity += quantity


@dataclass(slots=True)
class Tally:
    """What came to a place.

    `own`: usage of its own period; `amended`: how many of these events come with an amended invoice.
    `deferred`: by name, the usage of earlier periods that came after their cut-offs and is billed here.
    """

    own: Usage
    is_level: bool = False
    duplicates: int = 0
    late: int = 0
    amended: int = 0
    deferred: dict[str, Usage] = field(default_factory=dict[str, Usage])
    quarantined: Counter[str] = field(default_factory=Counter[str])

    @property
    def events(self) -> int:
        """All that is billed here."""
        return self.own.events + sum(usage.events for usage in self.deferred.values())

    @property
    def quantity(self) -> Decimal:
        """All that is billed here; levels of several periods do not add up, so of a level the own one."""
        with localcontext(EXACT):
            late = sum((usage.quantity for usage in self.deferred.values()), Decimal(0))
            return self.own.quantity if self.is_level else self.own.quantity + late


@dataclass(frozen=True, slots=True)
class Shown:
    """A billed reading: where it is billed, as usage of which period, and whether it came by the cut-off."""

    booking: Booking
    place: Place
    usage: Usage
    in_time: bool


def measure(metric: Metric, shown: Sequence[Shown], tallies: dict[Place, Tally]) -> None:
    """Add what a device's readings amount to, to the usage that each belongs to."""
    found = _consumed(metric, shown) if metric.kind == "Cumulative" else _levels(metric, shown, tallies)
    with localcontext(EXACT):
        for usage, quantity in found:
            usage.quantity += quantity


def _consumed(metric: Metric, shown: Sequence[Shown]) -> Iterable[tuple[Usage, Decimal]]:
    """Each step where its later reading counts, also after a sale: the meter ran on."""
    bookings = [each.booking for each in shown]
    if all(each.in_time for each in shown):
        # Invoices in turn would come to the same, slowly.
        bookings = [Booking(booking.reading, EPOCH, EPOCH) for booking in bookings]
    steps = settled(bookings, register_of(metric))
    return [(each.usage, step.consumed) for each, step in zip(shown, steps, strict=True)]


def _levels(
    metric: Metric, shown: Sequence[Shown], tallies: dict[Place, Tally]
) -> Iterable[tuple[Usage, Decimal]]:
    """The level in each period, of the same customer's readings that were booked by then; where some are of
    an earlier period, by how much they change its level."""
    for place in dict.fromkeys(each.place for each in shown):
        closed = max(each.booking.booked_at for each in shown if each.place == place)
        known = [
            each
            for each in shown
            if each.place.customer == place.customer and each.booking.booked_at <= closed
        ]
        every = [each.booking.reading for each in known]
        before = [each.booking.reading for each in known if each.place != place]
        own = tallies[place].own
        for usage in {id(each.usage): each.usage for each in shown if each.place == place}.values():
            base = Decimal(0) if usage is own else level(before, metric, usage.bounds)
            yield usage, level(every, metric, usage.bounds) - base
