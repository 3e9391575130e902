"""Timestamp: a device's statement of time, as text or number, to an instant; what can't be one is said so."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final

import msgspec

from fleetmeter_rules.instant import EPOCH, from_micros

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
# Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size until the year 5138.
_UNITS: Final = ((10**11, 10**6), (10**14, 10**3), (10**17, 1))
_MOST: Final = 10**20


class Timestamp(msgspec.Struct, frozen=True, gc=False):
    """The instant, or None where the statement can't be read; flags for what was mended."""

    instant: datetime | None
    flags: tuple[str, ...] = ()


UNREADABLE: Final = Timestamp(None)


def timestamp(value: object) -> Timestamp:
    """RFC 3339 with an offset, or a number since 1970 whose unit follows from its size. Never raises.

    Second 60 is the next second, flagged. A text without an offset, a year before 1970 or after 2199, and
    anything else is unreadable: it is never guessed. Digits below a microsecond are cut.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return _number(Decimal(value))
    return UNREADABLE


def _text(text: str) -> Timestamp:
    common = _common(text)
    if common is not None:
        return _within(common, ())
    match = _RFC3339.fullmatch(text)
    if match is None:
        return UNREADABLE
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    micros = int((match[7] or "0").ljust(6, "0")[:6])
    leap = second == 60
    try:
        offset = UTC if match[8] else _offset(match[9], int(match[10]), int(match[11]))
        local = datetime(year, month, day, hour, minute, 59 if leap else second, micros, offset)
        instant = (local + timedelta(seconds=1 if leap else 0)).astimezone(UTC)
    except (ValueError, OverflowError):
        return UNREADABLE
    return _within(instant, ("second_60",) if leap else ())


def _common(text: str) -> datetime | None:
    """The instant of a text written as 2026-03-31T23:59:59.123456Z or .123Z, which the library reads as we
    do, or not at all."""
    if len(text) not in (24, 27) or text[4:20:3] != "--T::." or text[-1] != "Z":
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _offset(sign: str, hours: int, minutes: int) -> timezone:
    if minutes > 59:
        raise ValueError("an offset has at most 59 minutes")
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if sign == "-" else span)


def _number(value: Decimal) -> Timestamp:
    if not value.is_finite() or not 0 <= value < _MOST:
        return UNREADABLE
    for limit, micros in _UNITS:
        if value < limit:
            return _within(from_micros(int(value * micros)), ())
    return _within(from_micros(int(value) // 1000), ())


def _within(instant: datetime, flags: tuple[str, ...]) -> Timestamp:
    return Timestamp(instant, flags) if EPOCH <= instant < _LAST else UNREADABLE
