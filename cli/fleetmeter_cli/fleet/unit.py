"""Unit: a place in the fleet where a device works, with the one that may replace it; drawn from the seed."""

from fleetmeter_cli.fleet import boots as boot
from fleetmeter_cli.fleet.boots import Boots
from fleetmeter_cli.fleet.chance import Chance, between, chance, count
from fleetmeter_cli.fleet.device import Device
from fleetmeter_cli.fleet.envelope import Envelope, Facts
from fleetmeter_cli.fleet.instant import DAY, HOUR, SECOND, month_edges
from fleetmeter_cli.fleet.link import Link
from fleetmeter_cli.fleet.outage import LONG, MONTH, Outage, outages
from fleetmeter_cli.fleet.ownership import INSTALLED_BEFORE, Holding, customer, holdings, other_customer
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.fleet.truth import Contents
from fleetmeter_cli.fleet.wall_clock import Habit, habit, wall_clock
from fleetmeter_rules.device import device_uid

_CRYSTAL = 25_000
"""The most that an oscillator is fast or slow, in parts per billion."""


def devices_of(profile: Profile, storms: list[Outage], unit: int, contents: Contents) -> list[Device]:
    """The device of a unit, and its replacement where it has one. `contents` counts what was drawn."""
    source = chance(profile.seed, "unit", unit)
    every = profile.every_seconds * SECOND
    phase = between(source, 0, every)
    owner = customer(profile.customers, source)
    replaced_at = _between_events(profile, phase, source) if source.random() < profile.replaced else None
    sold_at = _between_events(profile, phase, source) if source.random() < profile.sold else None
    until = profile.end_at if replaced_at is None else replaced_at
    installed = profile.start_at - INSTALLED_BEFORE
    if sold_at is not None and sold_at >= until:
        sold_at = None
    buyer = other_customer(profile.customers, owner)
    held = holdings(owner, installed, replaced_at, sold_at, buyer)
    contents.add("sold devices", sold_at is not None)
    found = [_device(profile, storms, 2 * unit, (profile.start_at, until), phase, held, contents)]
    if replaced_at is not None:
        contents.add("replaced devices")
        after = holdings(held[-1].customer, replaced_at, None, None, buyer)
        span = (replaced_at, profile.end_at)
        found.append(_device(profile, storms, 2 * unit + 1, span, phase, after, contents))
    return found


def _between_events(profile: Profile, phase: int, source: Chance) -> int:
    """A time in the middle of two events of the unit, never the simulation's first day."""
    every = profile.every_seconds * SECOND
    slots = max(profile.days * DAY // every, 1)
    slot = between(source, min(DAY // every, slots - 1), slots)
    return profile.start_at + phase + slot * every + every * 3 // 4


def _device(
    profile: Profile,
    storms: list[Outage],
    number: int,
    span: tuple[int, int],
    phase: int,
    held: tuple[Holding, ...],
    contents: Contents,
) -> Device:
    source = chance(profile.seed, "device", number)
    born, died = span
    offline = outages(profile, storms, born, died, source)
    kind = habit(profile.wrong_clocks, source)
    drift = between(source, -_CRYSTAL, _CRYSTAL)
    clock, with_clock = wall_clock(kind, born, drift, offline, source)
    started = _boots(profile, kind, span, offline, with_clock, drift, source)
    link = Link(offline)
    spelling = _spelling(profile.seed, number)
    envelope = Envelope(spelling, profile.metric, _facts(profile, number), clock, started)
    _tell(contents, kind, offline, started)
    edges = {*month_edges(profile.start_at, profile.end_at), *(h.since for h in held), died}
    return Device(
        number=number,
        uid=device_uid(spelling),
        spelling=spelling,
        alias=f"unit-{profile.seed}-{number:06d}",
        born=born,
        died=died,
        phase=phase,
        clock=clock,
        boots=started,
        link=link,
        held=held,
        edges=tuple(sorted(edges)),
        envelope=envelope,
    )


def _boots(
    profile: Profile,
    kind: Habit,
    span: tuple[int, int],
    offline: list[Outage],
    with_clock: list[int],
    drift: int,
    source: Chance,
) -> Boots:
    """The boot before its first event, those of its clock's habit, and others.

    A device whose clock does not survive a boot has no others: after two of them in one outage nothing tells
    its time. In an outage of days there are none either: over a boot only sent-at tells the time, and no
    class believes that for weeks.
    """
    born, died = span
    long = [outage for outage in offline if outage.length >= LONG]
    starts = [born - between(source, HOUR, 60 * DAY), *with_clock]
    others = count(source, profile.reboots * (died - born) / MONTH)
    if kind not in (Habit.RESET, Habit.STEP):
        drawn = [between(source, born, died) for _ in range(others)]
        starts += [at for at in drawn if not any(outage.start <= at <= outage.end for outage in long)]
    return boot.boots(starts, drift, source)


def _facts(profile: Profile, number: int) -> Facts:
    """Drawn from a source of their own: the same fleet can be had with other facts."""
    source = chance(profile.seed, "facts", number)
    sent_at, uptime = source.random(), source.random()
    return Facts(sent_at < profile.share_sent_at, uptime < profile.share_uptime)


def _spelling(seed: int, number: int) -> str:
    """The device's identity as its messages give it: a name, an EUI-64 or a MAC in one of their spellings."""
    if number // 2 % 4 == 0:
        return f"sim{seed}-{number:06d}"
    if number // 2 % 4 == 3:
        digits = f"02{seed & 0xFFFF:04x}{number & 0xFFFFFF:06x}"
        return ":".join(digits[at : at + 2] for at in range(0, 12, 2)).upper()
    digits = f"02{seed & 0xFFFFFF:06x}{number & 0xFFFFFFFF:08x}"
    return digits if number // 2 % 4 == 1 else "-".join(digits[at : at + 2] for at in range(0, 16, 2))


def _tell(contents: Contents, kind: Habit, offline: list[Outage], started: Boots) -> None:
    contents.add("devices")
    contents.add(f"clocks: {kind.value}")
    contents.add("reboots", len(started.starts) - 1)
    contents.add("outages", len(offline))
    contents.add("outages of 48 hours and more", sum(outage.length >= 48 * HOUR for outage in offline))
