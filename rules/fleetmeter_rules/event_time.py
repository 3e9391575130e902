"""Event time: when an event happened, from the device's clocks, the receive time and the class."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from fleetmeter_api.region import DEFAULT_MAX_OFFLINE_SECONDS, DeviceClass, TimeFallback
from fleetmeter_rules import boundary
from fleetmeter_rules.clock_faults import Plausible, mend, never_set

ALGORITHM: Final = "resolve_event_time v1"

TRANSIT: Final = timedelta(seconds=5)
"""What the way from the device to us may take without being noticed; part of every corrected time's
uncertainty."""
DRIFT_PPM: Final = 100
"""What a device's oscillator may drift, in parts per million: five times an ordinary crystal."""
GATEWAY_LAG: Final = timedelta(minutes=10)
"""How long the gateway may take to store a message; a gateway clock further from R is not believed."""
_AT_ONCE: Final = timedelta(0)
_DRIFT_PART: Final = 1_000_000 // DRIFT_PPM
"""The same as one part in so many."""


class TimeMethod(IntEnum):
    """How T was found; the numbers are stored for ever."""

    RECEIVED = 0
    UPTIME = 1
    SENT_AT = 2
    FAULT = 3
    DEVICE = 4
    FALLBACK_RECEIVED = 5
    HYBRID = 6


class Quality(StrEnum):
    """How far T can be trusted."""

    RECEIVED = "received"
    TRUSTED = "trusted"
    CORRECTED = "corrected"
    UNVERIFIED = "unverified"


class DeviceTime(msgspec.Struct, frozen=True, gc=False):
    """What a message says about time. All optional; no field is believed alone.

    `event_at`, `sent_at`: the device's wall clock at the event and at the sending. `event_uptime`,
    `sent_uptime`: its monotonic clock since boot, with the boots they belong to. `clock_stepped`: the
    device knows that its wall clock was set between the two. `unreadable`: it gave an event time that is
    none. `flags`: what the parser had to mend, such as second 60.
    """

    event_at: datetime | None = None
    sent_at: datetime | None = None
    event_uptime: timedelta | None = None
    sent_uptime: timedelta | None = None
    event_boot: str | None = None
    sent_boot: str | None = None
    clock_stepped: bool = False
    historical: bool = False
    unreadable: bool = False
    flags: tuple[str, ...] = ()

    @property
    def says_something(self) -> bool:
        """Whether there is any time of the event in it."""
        return self.event_at is not None or self.event_uptime is not None or self.unreadable


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What a device class allows: how far a clock may be off, how long a device may be offline, the
    fallback."""

    fallback: TimeFallback = "Quarantine"
    tolerance: timedelta = timedelta(seconds=300)
    max_offline: timedelta = timedelta(seconds=DEFAULT_MAX_OFFLINE_SECONDS)
    future_tolerance: timedelta = timedelta(seconds=300)


def rules_of(device_class: DeviceClass) -> ClassRules:
    """What a region declares for a class of devices."""
    return ClassRules(
        device_class.time_fallback,
        timedelta(seconds=device_class.tolerance_seconds),
        timedelta(seconds=device_class.max_offline_seconds),
        timedelta(seconds=device_class.future_tolerance_seconds),
    )


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """T, how uncertain it is, and how it was found. `offset`: how far the device's clock was behind ours,
    if known."""

    at: datetime
    uncertainty: timedelta
    method: TimeMethod
    quality: Quality
    flags: tuple[str, ...] = ()
    offset: timedelta | None = None

    def straddles(self, start: datetime, end: datetime) -> bool:
        """Whether the true time may lie outside the period start <= t < end: a boundary candidate."""
        return boundary.straddles(self.at, self.uncertainty, start, end)


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """No time can be believed; the candidates are shown to a person. The reason code is `time_ambiguous`."""

    candidates: tuple[datetime, ...]
    detail: str
    reason: str = "time_ambiguous"


def resolve_event_time(
    device: DeviceTime | None,
    received_at: datetime,
    rules: ClassRules,
    gateway_at: datetime | None = None,
) -> Resolved | Ambiguous:
    """T of one message: a function of the message, R and the class, never of other messages or of now().

    In this order: no device time, T = R; the pair of uptimes; the pair of event and sent-at; a known
    discrete fault; the plausible window; else the class's fallback. With fallback Hybrid (the article's
    way) an event time alone is taken if it is within the tolerance of R, else R; so a backlog counts when
    it arrives, and each such row is flagged. `gateway_at` is the gateway's own clock; it measures the
    device's clock where it is shortly before R.
    """
    if device is None or not device.says_something:
        return Resolved(received_at, _AT_ONCE, TimeMethod.RECEIVED, Quality.RECEIVED)
    reference = received_at
    if gateway_at is not None and _AT_ONCE <= received_at - gateway_at <= GATEWAY_LAG:
        reference = gateway_at
    found = (
        _by_uptime(device, reference, rules)
        or _by_sent_at(device, reference, rules)
        or (_hybrid(device, received_at, rules) if rules.fallback == "Hybrid" else None)
        or _by_fault(device, received_at, rules)
        or _by_window(device, received_at, rules)
    )
    return found or _fallback(device, received_at, rules)


def _by_uptime(device: DeviceTime, reference: datetime, rules: ClassRules) -> Resolved | None:
    """R less what the monotonic clock counted between event and sending, however long; no wall clock
    needed."""
    if device.event_uptime is None or device.sent_uptime is None:
        return None
    same_boot = device.event_boot is not None and device.event_boot == (device.sent_boot or device.event_boot)
    age = device.sent_uptime - device.event_uptime
    if not same_boot or age < _AT_ONCE:
        return None
    at = reference - age
    offset = None if device.event_at is None else at - device.event_at
    uncertainty = _pair_uncertainty(age, at, device.event_at, rules)
    return Resolved(at, uncertainty, TimeMethod.UPTIME, Quality.TRUSTED, device.flags, offset)


def _by_sent_at(device: DeviceTime, reference: datetime, rules: ClassRules) -> Resolved | None:
    """R less the wall clock's difference between event and sending: a clock's constant error cancels out.

    Not across a reboot of a clock that nobody has set: it begins again, and the difference is too small.
    Where the message does not tell the boot that sent it, the event may have happened as early as the device
    can have been offline.
    """
    if device.event_at is None or device.sent_at is None or device.clock_stepped:
        return None
    age = device.sent_at - device.event_at
    if not _AT_ONCE <= age <= rules.max_offline:
        return None
    at = reference - age
    uncertainty = _pair_uncertainty(age, at, device.event_at, rules)
    offset = reference - device.sent_at
    unset = never_set(device.sent_at, reference)
    if unset and device.sent_boot is None:
        flags = (*device.flags, "clock_unset")
        widest = max(uncertainty, rules.max_offline - age)
        return Resolved(at, widest, TimeMethod.SENT_AT, Quality.UNVERIFIED, flags, offset)
    if unset and device.sent_boot != device.event_boot:
        return None
    return Resolved(at, uncertainty, TimeMethod.SENT_AT, Quality.CORRECTED, device.flags, offset)


def _pair_uncertainty(
    age: timedelta, at: datetime, event_at: datetime | None, rules: ClassRules
) -> timedelta:
    """Transit and drift; but where the event time is earlier and credible as it stands, all that lies
    between.

    A message that waited in a broker's queue and a clock that runs late look the same, so both times stay in.
    """
    least = TRANSIT + age // _DRIFT_PART
    if event_at is None or not rules.tolerance < at - event_at <= rules.max_offline - age:
        return least
    return at - event_at + least


def _by_fault(device: DeviceTime, received_at: datetime, rules: ClassRules) -> Resolved | None:
    """An event time that is wrong by exactly what a known fault makes it wrong by."""
    event_at = device.event_at
    if event_at is None:
        return None
    plausible = Plausible(
        received_at, received_at - rules.max_offline, received_at + rules.future_tolerance, rules.tolerance
    )
    mended = mend(event_at, plausible)
    if mended is None:
        return None
    at = min(mended.at, received_at)
    flags = (*device.flags, mended.name)
    return Resolved(at, mended.uncertainty, TimeMethod.FAULT, Quality.CORRECTED, flags, at - event_at)


def _by_window(device: DeviceTime, received_at: datetime, rules: ClassRules) -> Resolved | None:
    """An event time that nothing contradicts: not after R, not before the longest time offline."""
    event_at = device.event_at
    if event_at is None or device.clock_stepped:
        return None
    if not received_at - rules.max_offline <= event_at <= received_at + rules.future_tolerance:
        return None
    at = min(event_at, received_at)
    return Resolved(at, rules.tolerance, TimeMethod.DEVICE, Quality.UNVERIFIED, device.flags)


def _hybrid(device: DeviceTime, received_at: datetime, rules: ClassRules) -> Resolved:
    """The article's rule: the device's time within the tolerance of R, else R."""
    event_at = device.event_at
    flags = (*device.flags, "hybrid")
    if event_at is not None and abs(received_at - event_at) <= rules.tolerance:
        at = min(event_at, received_at)
        return Resolved(at, rules.tolerance, TimeMethod.HYBRID, Quality.UNVERIFIED, flags)
    return Resolved(received_at, rules.max_offline, TimeMethod.HYBRID, Quality.UNVERIFIED, flags)


def _fallback(device: DeviceTime, received_at: datetime, rules: ClassRules) -> Resolved | Ambiguous:
    if rules.fallback == "Received":
        flags = (*device.flags, "fallback")
        return Resolved(
            received_at, rules.max_offline, TimeMethod.FALLBACK_RECEIVED, Quality.UNVERIFIED, flags
        )
    candidates = (received_at,) if device.event_at is None else (device.event_at, received_at)
    return Ambiguous(
        candidates,
        "the device's event time can't be true and nothing else in the message tells when it happened; "
        "let the device send sentAt or its uptime, or give its class the fallback Received",
    )
