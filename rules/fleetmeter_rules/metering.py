"""Metering: what a period's events of one metric amount to, by the metric's kind, in any order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Final

from fleetmeter_api.region import Aggregation, Metric
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import EXACT, FRACTION_DIGITS

_ZERO: Final = Decimal(0)
_SLIP: Final = Decimal(1000)
_SLIP_DRIFT: Final = Decimal("0.01")
_SLIP_FROM: Final = Decimal(100)
_ONE: Final = Decimal(1)
_FIRST_UNIT: Final[Mapping[str, Decimal]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reading:
    """What a register or sensor showed at an instant.

    `segment`: which register it is (a meter's number, a tariff's counter), empty for a device's only one:
    another segment is another register, which starts at its own first reading. A boot is no register: what
    counts on through it is one, and what starts at 0 again is a reset.
    """

    at: datetime
    value: Decimal
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Booking:
    """A reading on its way to an invoice: when the invoice that bills it is closed, and when it was received.

    `opens`: it is billed elsewhere and only tells where the others begin.
    """

    reading: Reading
    booked_at: datetime
    received_at: datetime
    opens: bool = False


class Note(StrEnum):
    """Why a step consumed what it did."""

    PLAIN = "plain"
    FIRST = "first"
    ROLLOVER = "rollover"
    RESET = "reset"
    REPLACEMENT = "replacement"
    UNIT_SLIP = "unit_slip"
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True)
class Step:
    """The consumption between the last reading and this one; it belongs to this one's instant.

    `scale`: what a unit of this reading is in the unit of the register's first one; another than 1 after a
    slip of units.
    """

    at: datetime
    consumed: Decimal
    note: Note
    segment: str = ""
    scale: Decimal = _ONE


@dataclass(frozen=True, slots=True)
class Register:
    """How a cumulative register behaves: where it starts again at 0, and which values mean an error."""

    rollover: Decimal | None = None
    sentinels: frozenset[Decimal] = frozenset()


def delta(quantities: Iterable[Decimal]) -> Decimal:
    """Consumption of a delta metric: the exact sum."""
    with localcontext(EXACT):
        return sum(quantities, _ZERO)


def register_of(metric: Metric) -> Register:
    """The register that a Cumulative metric declares."""
    return Register(metric.rollover, frozenset(metric.sentinels))


def cumulative(
    readings: Iterable[Reading], register: Register, scales: Mapping[str, Decimal] = _FIRST_UNIT
) -> tuple[Step, ...]:
    """The steps of one device's registers, by time; a lost reading costs nothing, the next one makes up for
    it.

    A segment's first reading opens and consumes nothing; that of a second one replaces a meter, or stands
    beside it. A value that is the last one times or by 1000, up to 1 %, is a slip of units (Wh, kWh). Another
    fall is a rollover where the way over the modulus is the shorter one, else a reset to 0, of which the new
    value is the consumption. Sentinels are skipped. `scales`: that of a segment's first reading here, where
    its units slipped before.
    """
    with localcontext(EXACT):
        return tuple(_steps(_by_time(readings), register, scales))


def settled(
    bookings: Sequence[Booking], register: Register, scales: Mapping[str, Decimal] = _FIRST_UNIT
) -> tuple[Step, ...]:
    """What each reading of one device is billed for, in the order given: each step once, whatever came when.

    Bookings are taken in turn. One sees what was billed before it and all that was received by then, whoever
    bills that: so a reading's step begins at the last reading before it, also at one of another owner whose
    period closes later. Where a later reading was billed already, the way up to that one is billed with it;
    a new reading between adds only what the whole grows by: nothing on a meter that simply ran, the
    consumption before a reset that only it shows. Nothing is taken back, but what was billed too much counts
    against what follows. So the shares of all turns add up to the consumption of all readings.
    """
    shares: dict[int, Step] = {
        place: Step(each.reading.at, _ZERO, Note.FIRST, each.reading.segment)
        for place, each in enumerate(bookings)
        if each.opens
    }
    with localcontext(EXACT):
        for turn in sorted({each.booked_at for each in bookings if not each.opens}):
            known = {place: share.consumed for place, share in shares.items()}
            seen = [
                place
                for place, each in enumerate(bookings)
                if place in known or each.booked_at == turn or each.received_at < turn
            ]
            found = _shares(bookings, seen, known, register, scales)
            shares |= {place: step for place, step in found.items() if bookings[place].booked_at == turn}
    return tuple(shares[place] for place in range(len(bookings)))


def _shares(
    bookings: Sequence[Booking],
    seen: Iterable[int],
    known: Mapping[int, Decimal],
    register: Register,
    scales: Mapping[str, Decimal],
) -> dict[int, Step]:
    """The shares of readings that are not billed yet, by place, after those that are."""
    places = sorted(seen, key=lambda place: (*_order(bookings[place].reading), place not in known))
    steps = _steps((bookings[place].reading for place in places), register, scales)
    balances: dict[str, _Balance] = {}
    for place, step in zip(places, steps, strict=True):
        balance = balances.setdefault(step.segment, _Balance())
        if place in known:
            balance.bill(step.consumed - known[place])
        else:
            balance.open(place, step)
    return {place: step for balance in balances.values() for place, step in balance.shares()}


@dataclass(slots=True)
class _Gap:
    """New readings of one register between two that are billed, and what the whole grows by with them."""

    steps: list[tuple[int, Step]] = field(default_factory=list[tuple[int, Step]])
    growth: Decimal = _ZERO
    closed: bool = False


@dataclass(slots=True)
class _Balance:
    """One register's gaps by time; `before`: what the billed readings before the first gap lack."""

    gaps: list[_Gap] = field(default_factory=list[_Gap])
    before: Decimal = _ZERO

    def open(self, place: int, step: Step) -> None:
        """A new reading."""
        if not self.gaps or self.gaps[-1].closed:
            self.gaps.append(_Gap())
        self.gaps[-1].steps.append((place, step))
        self.gaps[-1].growth += step.consumed

    def bill(self, change: Decimal) -> None:
        """A billed reading, whose step is now more by `change` than what it was billed for."""
        if self.gaps:
            self.gaps[-1].closed = True
            self.gaps[-1].growth += change
        else:
            self.before += change

    def shares(self) -> list[tuple[int, Step]]:
        """Each gap's growth: from its first reading on as far as each consumed, the rest with the last.

        What was billed too much takes from the gaps that follow, then from those before.
        """
        left = self.before
        found: list[tuple[int, Step]] = []
        for gap in self.gaps:
            left += gap.growth
            for number, (place, step) in enumerate(gap.steps, start=1):
                share = max(_ZERO, left if number == len(gap.steps) else min(step.consumed, left))
                left -= share
                found.append((place, step if share == step.consumed else replace(step, consumed=share)))
        for index in range(len(found) - 1, -1, -1) if left else ():
            place, step = found[index]
            found[index] = place, replace(step, consumed=max(_ZERO, step.consumed + left))
            left = min(_ZERO, step.consumed + left)
        return found


def maximum(readings: Iterable[Reading], period: Bounds) -> Decimal:
    """The highest level read in the period; 0 without a reading."""
    return max((reading.value for reading in readings if reading.at in period), default=_ZERO)


def last(readings: Iterable[Reading], period: Bounds) -> Decimal:
    """The level read last in the period; the highest of those read at that instant; 0 without a reading."""
    inside = [reading for reading in _by_time(readings) if reading.at in period]
    return inside[-1].value if inside else _ZERO


def time_weighted(readings: Iterable[Reading], period: Bounds) -> Decimal:
    """The mean level over the part of the period in which it is known: each level holds until the next
    reading.

    Give it the last reading before the period too. Rounded once, half away from zero, to a quantity's 10
    digits.
    """
    ordered = [reading for reading in _by_time(readings) if reading.at < period.end]
    if not ordered:
        return _ZERO
    weighted, known = _ZERO, timedelta(0)
    with localcontext(EXACT):
        ends = [following.at for following in ordered[1:]] + [period.end]
        for reading, end in zip(ordered, ends, strict=True):
            held = max(timedelta(0), end - max(reading.at, period.start))
            weighted += reading.value * Decimal(_micros(held))
            known += held
    return _quotient(weighted, Decimal(_micros(known)))


def level(readings: Iterable[Reading], metric: Metric, period: Bounds) -> Decimal:
    """The level of a Gauge in the period, by the metric's aggregation; of several segments the sum.

    Each segment is a sensor of its own. Sentinels are skipped. Give it the last reading before the period
    too.
    """
    read = (reading for reading in readings if reading.value not in metric.sentinels)
    by_segment = sorted(read, key=lambda reading: reading.segment)
    rule = _LEVELS[metric.aggregation or "Last"]
    return delta(rule(own, period) for _, own in groupby(by_segment, key=lambda reading: reading.segment))


_LEVELS: Final[Mapping[Aggregation, Callable[[Iterable[Reading], Bounds], Decimal]]] = {
    "Max": maximum,
    "Last": last,
    "TimeWeighted": time_weighted,
}


def _order(reading: Reading) -> tuple[datetime, str, Decimal]:
    return reading.at, reading.segment, reading.value


def _by_time(readings: Iterable[Reading]) -> list[Reading]:
    return sorted(readings, key=_order)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a register after a reading; `counted`: up to where, in the first unit, is accounted
    for."""

    reading: Reading
    scale: Decimal
    counted: Decimal


def _steps(ordered: Iterable[Reading], register: Register, scales: Mapping[str, Decimal]) -> Iterable[Step]:
    registers: dict[str, _Known] = {}
    for reading in ordered:
        known = registers.get(reading.segment)
        if reading.value in register.sentinels:
            scale = scales.get(reading.segment, _ONE) if known is None else known.scale
            yield Step(reading.at, _ZERO, Note.SENTINEL, reading.segment, scale)
            continue
        if known is None:
            note = Note.REPLACEMENT if registers else Note.FIRST
            scale = scales.get(reading.segment, _ONE)
            registers[reading.segment] = _Known(reading, scale, reading.value * scale)
            yield Step(reading.at, _ZERO, note, reading.segment, scale)
            continue
        registers[reading.segment], step = _next(known, reading, register)
        yield step


def _next(known: _Known, now: Reading, register: Register) -> tuple[_Known, Step]:
    before, scale = known.reading.value, known.scale
    if _same_reading(large=before, small=now.value):
        return _advance(known, now, scale * _SLIP, Note.UNIT_SLIP)
    if _same_reading(large=now.value, small=before):
        return _advance(known, now, scale / _SLIP, Note.UNIT_SLIP)
    if now.value >= before:
        return _advance(known, now, scale, Note.PLAIN)
    used, note = now.value, Note.RESET
    if register.rollover is not None:
        over = register.rollover - before + now.value
        if 0 <= over <= register.rollover / 2:
            used, note = over, Note.ROLLOVER
    step = Step(now.at, used * scale, note, now.segment, scale)
    return _Known(now, scale, now.value * scale), step


def _advance(known: _Known, now: Reading, scale: Decimal, note: Note) -> tuple[_Known, Step]:
    """On from what is accounted for; a coarser unit that rounds below it consumes nothing yet."""
    reached = max(known.counted, now.value * scale)
    step = Step(now.at, reached - known.counted, note, now.segment, scale)
    return _Known(now, scale, reached), step


def _same_reading(large: Decimal, small: Decimal) -> bool:
    """Whether two values are nearly one reading in two units, a thousand apart; small registers are left
    alone."""
    return small >= _SLIP_FROM and abs(small * _SLIP - large) <= large * _SLIP_DRIFT


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _quotient(value: Decimal, by: Decimal) -> Decimal:
    if not by:
        return _ZERO
    with localcontext(prec=120) as context:
        context.clear_traps()
        return (value / by).quantize(Decimal(1).scaleb(-FRACTION_DIGITS), rounding=ROUND_HALF_UP)
