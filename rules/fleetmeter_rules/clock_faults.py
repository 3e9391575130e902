"""Clock faults: the discrete ways in which a device's clock is wrong, put right or at least recognised."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

GPS_ROLLOVER: Final = timedelta(weeks=1024)
"""What a receiver of ten-bit week numbers falls back by; the next time on 2038-11-21."""
COUNTER_WRAP: Final = timedelta(microseconds=1 << 32)
"""What a 32-bit counter of microseconds loses when it wraps, about 71.6 minutes."""
QUARTER_HOUR: Final = timedelta(minutes=15)
"""What offsets of time zones are multiples of."""
MOST_OFFSET: Final = timedelta(hours=14)
"""The largest offset of any zone."""
UNSET_CLOCKS: Final = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1980, 1, 6, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
)
"""Where clocks begin that nobody has set: Unix, GPS, and the chips that know no century."""
_EPOCH: Final = UNSET_CLOCKS[0]
_LONGEST_UPTIME: Final = timedelta(days=366)
_NEAR: Final = timedelta(seconds=5)
_SECOND: Final = timedelta(seconds=1)


class Mended(NamedTuple):
    """A fault by name, the time that it was put right to, and how far from that the event may be."""

    name: str
    at: datetime
    uncertainty: timedelta


class Plausible(NamedTuple):
    """When an event that was received at R can have happened, and how far a good clock may be off."""

    received_at: datetime
    earliest: datetime
    latest: datetime
    tolerance: timedelta


def mend(event_at: datetime, plausible: Plausible) -> Mended | None:
    """The fault that explains an event time, most certain first; None where none does."""
    return (
        _gps_rollover(event_at, plausible)
        or _seconds_for_milliseconds(event_at, plausible)
        or _counter_wrap(event_at, plausible)
        or _local_time(event_at, plausible)
    )


def never_set(clock: datetime, reference: datetime) -> bool:
    """Whether a clock that reads `clock` while it is `reference` was not set since its device booted: such a
    clock counts from a well-known date on, and begins again with every boot."""
    if reference - clock <= _LONGEST_UPTIME:
        return False
    return any(begin <= clock < begin + _LONGEST_UPTIME for begin in UNSET_CLOCKS)


def _gps_rollover(event_at: datetime, plausible: Plausible) -> Mended | None:
    """1024 weeks too early."""
    if event_at > datetime.max.replace(tzinfo=UTC) - GPS_ROLLOVER:
        return None
    at = event_at + GPS_ROLLOVER
    if not plausible.earliest <= at <= plausible.latest:
        return None
    return Mended("gps_rollover", at, plausible.tolerance)


def _seconds_for_milliseconds(event_at: datetime, plausible: Plausible) -> Mended | None:
    """A count of seconds that someone read as milliseconds: in January or February 1970. It was cut to a
    whole second."""
    since = event_at - _EPOCH
    if not timedelta(days=10) <= since <= timedelta(days=50):
        return None
    at = _EPOCH + since * 1000
    if not plausible.earliest - _SECOND <= at <= plausible.latest:
        return None
    return Mended("seconds_for_milliseconds", at, plausible.tolerance + _SECOND)


def _counter_wrap(event_at: datetime, plausible: Plausible) -> Mended | None:
    """One wrap from R, either way; an old event looks the same, so both times stay in."""
    if event_at <= plausible.earliest:
        return None
    for at in (event_at + COUNTER_WRAP, event_at - COUNTER_WRAP):
        if abs(plausible.received_at - at) <= _NEAR:
            return Mended("counter_wrap", at, COUNTER_WRAP)
    return None


def _local_time(event_at: datetime, plausible: Plausible) -> Mended | None:
    """Ahead of R by no more than a zone's offset; by how many quarters of an hour is not known for sure."""
    ahead = event_at - plausible.latest
    if not timedelta(0) < ahead <= MOST_OFFSET:
        return None
    return Mended("local_time", event_at - -(-ahead // QUARTER_HOUR) * QUARTER_HOUR, MOST_OFFSET)
