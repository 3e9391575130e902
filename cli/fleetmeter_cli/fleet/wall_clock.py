"""Wall clock: what a device believes the time is, with the ways in which real ones are wrong."""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleetmeter_cli.fleet.chance import Chance, between
from fleetmeter_cli.fleet.instant import DAY, HOUR, MINUTE
from fleetmeter_cli.fleet.outage import LONG, Outage

_BILLION: Final = 1_000_000_000
_ZONES: Final = (-660, -480, -420, -300, -210, -180, 60, 120, 180, 330, 345, 480, 540, 570, 630, 765, 840)
"""Minutes east of UTC, quarter hours among them."""
_GPS_WEEKS: Final = 1024 * 7 * DAY
_RESETS: Final = (0, 315_964_800_000, 946_684_800_000)
"""1970-01-01, the GPS epoch 1980-01-06, 2000-01-01."""


class Habit(StrEnum):
    """How a device's wall clock behaves."""

    SYNCHRONISED = "synchronised"
    """Right while there is a link; drifts without one."""
    OFFSET = "offset"
    """Minutes to hours wrong for good, never synchronised."""
    DRIFT = "drift"
    """Set once, long ago; drifts ever since."""
    LOCAL = "local time"
    """Local time, said to be UTC."""
    DAYS = "days wrong"
    """Days wrong for good."""
    GPS = "GPS rollover"
    """1,024 weeks in the past."""
    RESET = "reset at boot"
    """Starts at 1970, 1980 or 2000 when it boots without a link; set right at the reconnect."""
    STEP = "step at reconnect"
    """Restarts from an old time without a link; stepped to the right one at the reconnect."""


@dataclass(frozen=True, slots=True)
class Segment:
    """From `start` on the clock shows the true time + error + drift. `corrected`: stepped at its end."""

    start: int
    error: int
    drift: int = 0
    corrected: bool = False


class WallClock:
    """The segments of a clock's life. All in milliseconds; drift in parts per billion."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._starts = [segment.start for segment in segments]

    def read(self, instant: int) -> int:
        """What the clock shows."""
        segments = self._segments
        segment = segments[-1] if len(segments) == 1 else segments[self._index(instant)]
        drifted = (instant - segment.start) * segment.drift // _BILLION if segment.drift else 0
        return instant + segment.error + drifted

    def corrected(self, event: int, sending: int) -> bool:
        """Whether the clock was set right between the two instants, so that their difference says nothing."""
        if len(self._segments) == 1:
            return False
        at_event = self._index(event)
        return self._segments[at_event].corrected and self._index(sending) > at_event

    def _index(self, instant: int) -> int:
        return max(bisect_right(self._starts, instant) - 1, 0)


def habit(wrong: float, source: Chance) -> Habit:
    """A device's habit; `wrong` is the share of clocks that are not simply synchronised."""
    draw = source.random()
    if draw >= wrong:
        return Habit.SYNCHRONISED
    for each, share in _SHARES:
        draw -= share * wrong
        if draw < 0:
            return each
    return Habit.STEP


_SHARES: Final = (
    (Habit.OFFSET, 0.20),
    (Habit.DRIFT, 0.15),
    (Habit.LOCAL, 0.15),
    (Habit.DAYS, 0.06),
    (Habit.GPS, 0.04),
    (Habit.RESET, 0.20),
    (Habit.STEP, 0.20),
)
"""Among the wrong clocks."""


def wall_clock(
    kind: Habit, born: int, drift: int, outages: list[Outage], source: Chance
) -> tuple[WallClock, list[int]]:
    """A device's clock, and the boots that its habit brings with it."""
    either = 1 if source.random() < 0.5 else -1
    if kind is Habit.OFFSET:
        return _constant(born, either * between(source, 2 * MINUTE, 12 * HOUR)), []
    if kind is Habit.LOCAL:
        return _constant(born, _ZONES[between(source, 0, len(_ZONES))] * MINUTE), []
    if kind is Habit.DAYS:
        return _constant(born, either * (DAY * between(source, 1, 31))), []
    if kind is Habit.GPS:
        return _constant(born, -_GPS_WEEKS), []
    if kind is Habit.DRIFT:
        set_at = born - between(source, 30 * DAY, 700 * DAY)
        return WallClock([Segment(set_at, 0, drift)]), []
    segments = [Segment(born - DAY, 0)]
    started: list[int] = []
    for outage in outages:
        if kind is Habit.SYNCHRONISED:
            segments += [Segment(outage.start, 0, drift), Segment(outage.end, 0)]
        elif outage.length >= HOUR:
            wrong = _reset(outage, source) if kind is Habit.RESET else _step(outage, source)
            started.append(wrong.start)
            segments += [wrong, Segment(outage.end, 0)]
    return WallClock(segments), started


def _constant(born: int, error: int) -> WallClock:
    return WallClock([Segment(born - DAY, error)])


def _reset(outage: Outage, source: Chance) -> Segment:
    at = outage.start if outage.length >= LONG else between(source, outage.start, outage.end)
    return Segment(at, _RESETS[between(source, 0, len(_RESETS))] - at, corrected=True)


def _step(outage: Outage, source: Chance) -> Segment:
    return Segment(outage.start, -between(source, 10 * MINUTE, 5 * DAY), corrected=True)
