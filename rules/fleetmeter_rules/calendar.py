"""Calendar: which half-open period holds an instant, by zone, interval and anchor day."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleetmeter_api import calendar as declared
from fleetmeter_api.calendar import Interval
from fleetmeter_rules.instant import require_aware

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """How a contract or region cuts time.

    `anchor_day`: for months the day on which a period starts, 1-31, clamped to the month's end; for weeks
    the ISO weekday, 1 = Monday; of no meaning for days. Raises ValueError for an unknown zone or an anchor
    out of range.
    """

    zone: str = "UTC"
    interval: Interval = "Month"
    anchor_day: int = 1

    def __post_init__(self) -> None:
        most = 7 if self.interval == "Week" else 31
        if not 1 <= self.anchor_day <= most:
            raise ValueError(
                f"anchor day {self.anchor_day} is outside 1 to {most} for an interval of {self.interval}"
            )
        zone_of(self.zone)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A period: start <= t < end, both UTC, and the local date on which it starts (for its name)."""

    start: datetime
    end: datetime
    first_day: date = field(compare=False)

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def calendar_of(spec: declared.Calendar) -> Calendar:
    """The calendar that a region declares."""
    return Calendar(spec.time_zone, spec.interval, spec.anchor_day)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises ValueError, with a remedy, for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no IANA time zone; write one like Europe/Paris or UTC") from error


@lru_cache(maxsize=65536)
def day_start(day: date, zone: str) -> datetime:
    """The first instant of a local date, in UTC.

    Midnight that comes twice counts the first time. Where midnight does not exist (the clock jumps over it,
    or a whole date is lost, like 30 December 2011 in Apia) it is the instant of the jump.
    """
    tz = zone_of(zone)
    first = datetime.combine(day, time(), tz).astimezone(UTC)
    if first.astimezone(tz).replace(tzinfo=None) == datetime.combine(day, time()):
        return first
    return _jump(datetime.combine(day, time(fold=1), tz).astimezone(UTC) - _DAY, first, tz)


def periods(calendar: Calendar, since: date) -> Iterator[Bounds]:
    """Every period from the one that holds the local date `since`, without end; a lost date makes no
    period."""
    day = _first_day(calendar, since)
    while True:
        following = _next_day(calendar, day)
        bounds = Bounds(day_start(day, calendar.zone), day_start(following, calendar.zone), day)
        if bounds.start < bounds.end:
            yield bounds
        day = following


def contract_period(instant: datetime, calendar: Calendar) -> Bounds:
    """The one period of the calendar that holds the instant. Raises ValueError for a datetime without a
    zone."""
    require_aware(instant)
    local = instant.astimezone(zone_of(calendar.zone)).date()
    for bounds in periods(calendar, local - _DAY):
        if instant < bounds.end:
            return bounds
    raise AssertionError("periods() has no end")


def billing_periods(calendar: Calendar, first: date, last: date | None, until: datetime) -> list[Bounds]:
    """The region's periods, oldest first: from the one that holds `first` to the one that holds `last`
    (None: open end), as far as they have started by `until`."""
    require_aware(until)
    out: list[Bounds] = []
    for bounds in periods(calendar, first):
        if bounds.start > until or (last is not None and bounds.first_day > last):
            return out
        out.append(bounds)
    return out


@dataclass(frozen=True, slots=True)
class BilledTime:
    """A region's time: from the start of its first period to the end of its last; None: open end."""

    start: datetime
    end: datetime | None

    def touches(self, period: Bounds) -> bool:
        """Whether the period has a part in it."""
        return self.start < period.end and (self.end is None or period.start < self.end)


def billed_time(calendar: Calendar, first: date, last: date | None) -> BilledTime:
    """From the period that holds `first` to the one that holds `last`."""
    end = None if last is None else next(periods(calendar, last)).end
    return BilledTime(next(periods(calendar, first)).start, end)


def billing_period_of(start: datetime, calendar: Calendar, first: date, last: date | None = None) -> Bounds:
    """The region's period that groups a contract period which starts at `start`: the one that holds `start`.

    A contract whose zone lies ahead of the region's starts a little before the region's first period: it
    counts there. The same holds after the last period, so that no contract period is left without a close.
    """
    own = contract_period(start, calendar)
    first_bounds = next(periods(calendar, first))
    if own.start < first_bounds.start:
        return first_bounds
    if last is not None:
        last_bounds = next(periods(calendar, last))
        if own.start > last_bounds.start:
            return last_bounds
    return own


def period_name(region: str, bounds: Bounds, interval: Interval) -> str:
    """`eu-202301` for months, `eu-20230105` for shorter intervals, by the local date of the start."""
    pattern = "%Y%m" if interval == "Month" else "%Y%m%d"
    return f"{region}-{bounds.first_day:{pattern}}"


def cut_off(bounds: Bounds, grace: timedelta) -> datetime:
    """The end of the period plus its grace: usage received at or after it is late usage of a closed
    period."""
    if grace < timedelta(0):
        raise ValueError(f"a grace of {grace} is negative; 0 is the least")
    return bounds.end + grace


def _first_day(calendar: Calendar, day: date) -> date:
    """The local date on which the period that holds `day` starts."""
    if calendar.interval == "Day":
        return day
    if calendar.interval == "Week":
        return day - timedelta(days=(day.isoweekday() - calendar.anchor_day) % 7)
    own = _anchored(day.year, day.month, calendar.anchor_day)
    if own <= day:
        return own
    before = day.replace(day=1) - _DAY
    return _anchored(before.year, before.month, calendar.anchor_day)


def _next_day(calendar: Calendar, day: date) -> date:
    """The local date on which the period after the one that starts on `day` starts."""
    if calendar.interval == "Day":
        return day + _DAY
    if calendar.interval == "Week":
        return day + timedelta(days=7)
    return _anchored(day.year + day.month // 12, day.month % 12 + 1, calendar.anchor_day)


def _anchored(year: int, month: int, anchor_day: int) -> date:
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


def _jump(before: datetime, after: datetime, tz: ZoneInfo) -> datetime:
    """The instant in (before, after] at which the zone's offset becomes the one that holds at `after`."""
    target = after.astimezone(tz).utcoffset()
    while after - before > _MICROSECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(tz).utcoffset() == target:
            after = middle
        else:
            before = middle
    return after
