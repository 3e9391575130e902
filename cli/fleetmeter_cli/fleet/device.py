"""Device: one simulated device, and its messages in the order in which they arrive."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from fleetmeter_cli.fleet.boots import Boots, Sequence
from fleetmeter_cli.fleet.chance import Chance, between, chance
from fleetmeter_cli.fleet.envelope import Envelope
from fleetmeter_cli.fleet.event import Event
from fleetmeter_cli.fleet.instant import SECOND
from fleetmeter_cli.fleet.link import Link
from fleetmeter_cli.fleet.ownership import Holding
from fleetmeter_cli.fleet.poison import poison
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.fleet.retransmission import IN_FLIGHT, retransmission, transit
from fleetmeter_cli.fleet.truth import Truth
from fleetmeter_cli.fleet.wall_clock import WallClock

Arrival = tuple[int, int, str]
"""Receive time in milliseconds since 1970, the device's number, the message."""

_NEVER: Final = 1 << 62
_DRAIN_WITHIN: Final = 3_600_000
_LONGEST_OUTAGE: Final = 21 * 86_400_000


@dataclass(frozen=True, slots=True)
class Device:
    """A device from its first event to its last. `edges`: times near which no event happens; `phase`: the
    first event's distance from the simulation's start."""

    number: int
    uid: str
    spelling: str
    alias: str
    born: int
    died: int
    phase: int
    clock: WallClock
    boots: Boots
    link: Link
    held: tuple[Holding, ...]
    edges: tuple[int, ...]
    envelope: Envelope

    def arrivals(self, profile: Profile, truth: Truth) -> Iterator[Arrival]:
        """Every message in its order of arrival; the truth about each event is written on the way."""
        return _Journey(self, profile, truth).arrivals()


class _Journey:
    """The way of a device's events to the receiver."""

    def __init__(self, device: Device, profile: Profile, truth: Truth) -> None:
        self._device = device
        self._profile = profile
        self._truth = truth
        self._count = truth.contents.add
        self._source: Chance = chance(profile.seed, "events", device.number)
        self._under_way: list[Arrival] = []
        self._recent: deque[Event] = deque(maxlen=IN_FLIGHT)
        self._outages_past = 0

    def arrivals(self) -> Iterator[Arrival]:
        every = self._profile.every_seconds * SECOND
        pause = min(20 + between(self._source, 0, 80), max(_DRAIN_WITHIN * every // _LONGEST_OUTAGE, 1))
        link, under_way = self._device.link, self._under_way
        sent = 0
        for event in self._events(every):
            sent = link.up(max(event.at, sent + pause))
            begun = link.since(sent)
            if begun != self._outages_past:
                self._reconnect(begun)
            while under_way and under_way[0][0] <= sent:
                yield heappop(under_way)
            self._send(event, sent)
        while under_way:
            yield heappop(under_way)

    def _events(self, every: int) -> Iterator[Event]:
        """What happens on the device, in its order: one event an interval, none near an edge."""
        device, source = self._device, self._source
        boots, clock = device.boots, device.clock
        guard = self._profile.guard_seconds * SECOND
        near = [edge for edge in device.edges if edge + guard > device.born]
        near.append(_NEVER)
        jitter = min(500, every // 2)
        plain = self._profile.metric == "messages"
        boot, sequence = -1, -1
        start = device.phase + self._profile.start_at
        missed = max(-(-(device.born - start) // every), 0)
        for slot in range(start + missed * every, device.died, every):
            at = slot + int(source.random() * jitter)
            while at >= near[0] + guard:
                near.pop(0)
            if at >= near[0] - guard or at >= device.died:
                continue
            running = boots.index(at)
            sequence += 1
            if running != boot:
                if boots.sequence is not Sequence.STORED:
                    sequence = 0
                boot = running
            quantity = "1" if plain else _quantity(source)
            yield Event(
                at, boots.epochs[boot], sequence, quantity, clock.read(at), boot, boots.uptime(boot, at)
            )

    def _send(self, event: Event, sent: int) -> None:
        """Decide what arrives of an event, and note the truth."""
        profile, source = self._profile, self._source
        draw = source.random()
        received = sent + transit(source)
        if draw >= profile.lost + profile.retransmitted:
            self._arrive(event, sent, received)
        elif draw < profile.lost:
            self._count("events lost for good")
            self._truth.write(self._device.uid, event, self._device.held, None)
            return
        else:
            received = self._send_again(event, sent)
        self._truth.write(self._device.uid, event, self._device.held, received)
        self._recent.append(event)
        if source.random() < profile.poison:
            self._poison(event, received)

    def _send_again(self, event: Event, sent: int) -> int:
        """Several copies, or one late; the receive time of the first."""
        times = retransmission(sent, self._device.link, self._next_boot(sent), self._source)
        self._count("repeated copies", len(times) - 1)
        if times[0] != sent:
            self._count("first copies lost")
        arrivals = [time + transit(self._source) for time in times]
        for time, received in zip(times, arrivals, strict=True):
            self._arrive(event, time, received)
        return min(arrivals)

    def _next_boot(self, sent: int) -> int:
        return next((start for start in self._device.boots.starts if start > sent), _NEVER)

    def _reconnect(self, begun: int) -> None:
        """After an outage the device sends again what was not confirmed before it."""
        back = self._device.link.outages[begun - 1].end
        self._outages_past = begun
        for event in self._recent:
            if self._source.random() < 0.5:
                sent = self._device.link.up(back)
                self._arrive(event, sent, sent + transit(self._source))
                self._count("repeated copies")
        self._recent.clear()

    def _poison(self, event: Event, received: int) -> None:
        """Something that is not billable, or the same identity with another quantity after the first."""
        later = received + between(self._source, SECOND, 60 * SECOND)
        self._count("poison messages")
        if self._source.random() < 0.2:
            other = Event(
                event.at,
                event.epoch,
                event.sequence,
                f"{event.quantity}5",
                event.wall,
                event.boot,
                event.uptime,
            )
            self._arrive(other, later, later)
            return
        text = poison(later, self._device.spelling, self._source)
        heappush(self._under_way, (later, self._device.number, text))

    def _arrive(self, event: Event, sent: int, received: int) -> None:
        text = self._device.envelope.text(event, sent, received)
        heappush(self._under_way, (received, self._device.number, text))


def _quantity(source: Chance) -> str:
    """0.001 to 9.999, always with the same three digits after the point."""
    return f"{source.random() * 9.998 + 0.001:.3f}"
