"""Outages: when a device has no link, alone or with half of the fleet, and when it is back."""

from dataclasses import dataclass
from typing import Final

from fleetmeter_cli.fleet.chance import Chance, between, count
from fleetmeter_cli.fleet.instant import DAY, HOUR, MINUTE, SECOND, month_edges
from fleetmeter_cli.fleet.profile import Profile

MONTH: Final = 30 * DAY
GRACE: Final = 72 * HOUR
APART: Final = 2 * HOUR
"""Two outages of a device are never closer: its stored messages are sent before the next one."""
LONG: Final = 4 * DAY
_LONGEST: Final = 21 * DAY


@dataclass(frozen=True, slots=True)
class Outage:
    """No link from start to end, in milliseconds since 1970."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """In milliseconds."""
        return self.end - self.start


def storms(profile: Profile, source: Chance) -> list[Outage]:
    """When a carrier fails and half of the fleet reconnects within seconds of its return."""
    span = profile.end_at - profile.start_at
    found: list[Outage] = []
    for _ in range(count(source, profile.storms * span / MONTH)):
        start = between(source, profile.start_at, profile.end_at)
        found.append(Outage(start, start + between(source, 5 * MINUTE, 2 * HOUR)))
    return found


def outages(
    profile: Profile, fleet_storms: list[Outage], born: int, died: int, source: Chance
) -> list[Outage]:
    """A device's outages in their order, none closer to another than APART."""
    found: list[Outage] = []
    edges = month_edges(born, died)
    for edge in edges:
        draw = source.random()
        if draw < profile.late:
            _add(found, _late(edge, source), born, died)
        elif draw < profile.late + profile.boundary_outages:
            _add(found, _over(edge, source), born, died)
    span = died - born
    later_edges = month_edges(born, died + 2 * MONTH)
    for _ in range(count(source, profile.long_outages * span / MONTH)):
        start = between(source, born, died)
        _add(found, _back_in_time(start, between(source, LONG, _LONGEST), later_edges), born, died)
    for _ in range(count(source, profile.outages * span / MONTH)):
        start = between(source, born, died)
        _add(found, Outage(start, start + between(source, 2 * MINUTE, 12 * HOUR)), born, died)
    for storm in fleet_storms:
        back = storm.end + between(source, 0, 20 * SECOND)
        if source.random() < 0.5:
            _add(found, Outage(storm.start, back), born, died)
    return sorted(found, key=lambda outage: outage.start)


def _over(edge: int, source: Chance) -> Outage:
    length = between(source, 48 * HOUR, 72 * HOUR)
    before = length * between(source, 10, 90) // 100
    return Outage(edge - before, edge - before + length)


def _late(edge: int, source: Chance) -> Outage:
    """Half of them miss the cut-off by less than an hour."""
    after = between(source, MINUTE, HOUR) if source.random() < 0.5 else between(source, HOUR, 10 * DAY)
    return Outage(edge - between(source, HOUR, DAY), edge + GRACE + after)


def _back_in_time(start: int, length: int, edges: list[int]) -> Outage:
    """Long, but over by the cut-off of the month in which it began."""
    crossed = next(edge for edge in edges if start < edge)
    return Outage(start, min(start + length, crossed + GRACE - 2 * HOUR))


def _add(found: list[Outage], new: Outage, born: int, died: int) -> None:
    new = Outage(max(new.start, born), new.end)
    apart = all(new.end + APART < other.start or other.end + APART < new.start for other in found)
    if apart and new.length > 0 and new.start < died:
        found.append(new)
