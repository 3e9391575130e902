"""Instants as whole milliseconds since 1970, UTC: the months they lie in and their RFC 3339 text."""

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_MINUTES: Final = tuple(f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60))
_SECONDS: Final = tuple(f"{second:02d}." for second in range(60))
_MILLIS: Final = tuple(f"{milli:03d}Z" for milli in range(1000))


def at_midnight(day: date) -> int:
    """The start of a UTC day."""
    return (day.toordinal() - _EPOCH_DAY) * DAY


def rfc3339(instant: int) -> str:
    """2026-03-31T23:59:59.999Z."""
    day, in_day = divmod(instant, DAY)
    minute, in_minute = divmod(in_day, MINUTE)
    second, milli = divmod(in_minute, SECOND)
    return f"{_day(day)}{_MINUTES[minute]}{_SECONDS[second]}{_MILLIS[milli]}"


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return date.fromordinal(_EPOCH_DAY + number).isoformat()


def month(instant: int) -> str:
    """The UTC month of an instant: 2026-03."""
    return f"{datetime.fromtimestamp(instant // SECOND, UTC):%Y-%m}"


def month_edges(start: int, end: int) -> list[int]:
    """The starts of UTC months with start < edge < end."""
    first = datetime.fromtimestamp(start // SECOND, UTC).date()
    found: list[int] = []
    year, number = first.year, first.month
    while True:
        year, number = (year + 1, 1) if number == 12 else (year, number + 1)
        edge = at_midnight(date(year, number, 1))
        if edge >= end:
            return found
        found.append(edge)
