"""Dates and spans of time as people read them, in one named time zone."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def day(value: date) -> str:
    """A calendar day: `1 June 2023`."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def instant(value: str, zone: ZoneInfo) -> datetime:
    """An RFC 3339 instant (or a bare date, then its midnight) as local time. Raises ValueError."""
    parsed = datetime.fromisoformat(value)
    return parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed.astimezone(zone)


def moment(value: datetime) -> str:
    """A local instant with its offset: `4 July 2023, 00:00 (UTC+02:00)`."""
    return f"{day(value.date())}, {_clock(value)} ({_offset(value)})"


def short(value: datetime) -> str:
    """A local instant for a narrow column: `1 Jun 2023, 00:12`."""
    return f"{value.day} {_MONTHS[value.month - 1][:3]} {value.year}, {value:%H:%M}"


def span(start: datetime, end: datetime) -> str:
    """The half-open span as a person names it: a month, a day, or the first and last day."""
    if start.time() != time() or end.time() != time():
        return f"{moment(start)} – {moment(end)}"
    first, last = start.date(), end.date() - timedelta(days=1)
    if first == last:
        return day(first)
    if first.day == 1 and end.day == 1 and (first.year, first.month) == (last.year, last.month):
        return f"{_MONTHS[first.month - 1]} {first.year}"
    return f"{day(first)} – {day(last)}"


def duration(seconds: int) -> str:
    """A whole number of seconds in the largest unit that divides it: `72 hours`."""
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count:,} {name}{'' if count == 1 else 's'}"
    raise AssertionError("every whole number of seconds is divided by one")


def _clock(value: datetime) -> str:
    return value.strftime("%H:%M:%S" if value.second else "%H:%M")


def _offset(value: datetime) -> str:
    text = value.strftime("%z")
    return "UTC" if text in ("", "+0000") else f"UTC{text[:3]}:{text[3:5]}"
