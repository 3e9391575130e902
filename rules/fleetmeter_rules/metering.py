"""Metering: what a period's events of one metric amount to, by the metric's kind, in any order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from enum import StrEnum
from typing import Final

from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import EXACT, FRACTION_DIGITS

_ZERO: Final = Decimal(0)
_SLIP: Final = Decimal(1000)
_SLIP_DRIFT: Final = Decimal("0.01")
_SLIP_FROM: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a register or sensor showed at an instant.

    `segment`: which register it is (a meter's number, a boot): another segment is another register, which
    starts at its own first reading.
    """

    at: datetime
    value: Decimal
    segment: str = ""


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
    """The consumption between the last reading and this one; it belongs to this one's instant."""

    at: datetime
    consumed: Decimal
    note: Note


@dataclass(frozen=True, slots=True)
class Register:
    """How a cumulative register behaves: where it starts again at 0, and which values mean an error."""

    rollover: Decimal | None = None
    sentinels: frozenset[Decimal] = frozenset()


def delta(quantities: Iterable[Decimal]) -> Decimal:
    """Consumption of a delta metric: the exact sum."""
    with localcontext(EXACT):
        return sum(quantities, _ZERO)


def cumulative(readings: Iterable[Reading], register: Register) -> tuple[Step, ...]:
    """The steps of one device's register, by time; a lost reading costs nothing, the next one makes up for
    it.

    The first reading opens and consumes nothing, as does the first of another segment (a replaced meter).
    A value that is the last one times or by 1000, up to 1 %, is a slip of units (Wh, kWh). Another fall is a
    rollover where the way over the modulus is the shorter one, else a reset to 0, of which the new value is
    the consumption. Sentinels are skipped.
    """
    with localcontext(EXACT):
        return tuple(_steps(_by_time(readings), register))


def consumed(steps: Iterable[Step], period: Bounds) -> Decimal:
    """Consumption of a cumulative metric in a period: of the steps whose later reading lies in it."""
    return delta(step.consumed for step in steps if step.at in period)


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


def _by_time(readings: Iterable[Reading]) -> list[Reading]:
    return sorted(readings, key=lambda reading: (reading.at, reading.segment, reading.value))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a register after a reading; `counted`: up to where, in the first unit, is accounted
    for."""

    reading: Reading
    scale: Decimal
    counted: Decimal


def _steps(ordered: Sequence[Reading], register: Register) -> Iterable[Step]:
    known: _Known | None = None
    for reading in ordered:
        if reading.value in register.sentinels:
            yield Step(reading.at, _ZERO, Note.SENTINEL)
            continue
        if known is None or known.reading.segment != reading.segment:
            note = Note.FIRST if known is None else Note.REPLACEMENT
            known = _Known(reading, Decimal(1), reading.value)
            yield Step(reading.at, _ZERO, note)
            continue
        known, step = _next(known, reading, register)
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
    return _Known(now, scale, now.value * scale), Step(now.at, used * scale, note)


def _advance(known: _Known, now: Reading, scale: Decimal, note: Note) -> tuple[_Known, Step]:
    """On from what is accounted for; a coarser unit that rounds below it consumes nothing yet."""
    reached = max(known.counted, now.value * scale)
    return _Known(now, scale, reached), Step(now.at, reached - known.counted, note)


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
