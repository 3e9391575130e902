"""Trial: the billing rules run over messages in memory, with no queue and no database."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from fleetmeter_api.region import DEFAULT_CLASS, DeviceClass, Metric
from fleetmeter_rules.calendar import Bounds, Calendar, contract_period
from fleetmeter_rules.contracts import Defaults
from fleetmeter_rules.event_time import Ambiguous, ClassRules, Resolved, resolve_event_time, rules_of
from fleetmeter_rules.identity import event_id, packed_key
from fleetmeter_rules.instant import EPOCH, from_micros, rfc3339
from fleetmeter_rules.lateness import decide
from fleetmeter_rules.metering import Booking, Reading, level, register_of, settled
from fleetmeter_rules.number import EXACT
from fleetmeter_rules.ownership import Binding, owner_at
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import MESSAGES, Decoded, Item, NotBillable, Refusal

DEFAULT_CUSTOMER: Final = "default"
UNKNOWN_CUSTOMER: Final = "unknown"
NOT_BILLABLE: Final = "not_billable"
NO_RECEIVE_TIME: Final = "no_receive_time"
BILLED: Final = "billed"
DUPLICATE: Final = "duplicate"
QUARANTINED: Final = "quarantined"
UNUSABLE: Final = "unusable"


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device: its class and whom it belonged to when."""

    device_class: str
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the trial bills by. `registry` None: every device is known and is one customer's.

    `metrics`: the codes that count; None: `messages` of a platform's frames, all that an envelope states, and
    `kinds`. `kinds`: what is known of metrics, by code; all others are amounts that add up.
    """

    terms: Defaults
    registry: dict[str, Device] | None = None
    classes: tuple[DeviceClass, ...] = (DeviceClass(name=DEFAULT_CLASS),)
    metrics: frozenset[str] | None = None
    kinds: Mapping[str, Metric] = field(default_factory=dict[str, Metric])

    def device_class(self, name: str) -> DeviceClass | None:
        """The class of that name; without a region's classes every class is the default one."""
        found = next((known for known in self.classes if known.name == name), None)
        return self.classes[0] if found is None and len(self.classes) == 1 else found


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an item counts: a customer, a metric, and the first day of a period."""

    customer: str
    metric: str
    period: str


@dataclass(slots=True)
class Tally:
    """What came to a place. The quantity of a register or a level is known once all messages were taken."""

    bounds: Bounds
    events: int = 0
    duplicates: int = 0
    late: int = 0
    quantity: Decimal = Decimal(0)
    quarantined: Counter[str] = field(default_factory=Counter[str])
    devices: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one message: that of its first item that counts.

    `flags`: what was mended or guessed about its time. `boundary`: its true time may lie in another period.
    """

    verdict: str
    reason: str | None = None
    event_id: str | None = None
    device: str | None = None
    customer: str | None = None
    late: bool = False
    event_at: datetime | None = None
    method: str | None = None
    period: str | None = None
    detail: str = ""
    flags: tuple[str, ...] = ()
    boundary: bool = False

    def document(self, line: int, file: str) -> dict[str, Any]:
        """The decision as JSON values."""
        return {
            "line": line,
            "file": file,
            "event_id": self.event_id,
            "device": self.device,
            "customer": self.customer,
            "verdict": self.verdict,
            "late": self.late,
            "reason": self.reason,
            "event_time": None if self.event_at is None else rfc3339(self.event_at),
            "method": self.method,
            "period": self.period,
        }


@dataclass(frozen=True, slots=True)
class _First:
    fingerprint: bytes
    place: Place


@dataclass(slots=True)
class _Readings:
    """What one device showed of one metric, and where each of it counts."""

    metric: Metric
    readings: list[Reading] = field(default_factory=list[Reading])
    places: list[Place] = field(default_factory=list[Place])


class Trial:
    """Messages in, in their order of arrival; tallies by customer, metric and period out."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.read = 0
        self.unusable: Counter[str] = Counter()
        self.tallies: dict[Place, Tally] = {}
        self._first: dict[bytes, _First] = {}
        self._readings: dict[tuple[str, str], _Readings] = {}
        self._numbers: dict[str, int] = {}
        self._rules = {known.name: rules_of(known) for known in setting.classes}

    def take(self, adapter: str, raw: bytes, received: int | None) -> Decision:
        """Decide one message. `received`: R in microseconds since 1970, None where the file doesn't tell."""
        self.read += 1
        message = decode(adapter, raw)
        if isinstance(message, NotBillable):
            return self._useless(NOT_BILLABLE, message.detail)
        if isinstance(message, Refusal):
            return self._useless(message.reason, message.detail, message.device)
        if received is None:
            return self._useless(NO_RECEIVE_TIME, "the line has no receive time", message.device)
        items = [item for item in message.items if self._counts(adapter, item)]
        if not items:
            return self._useless(NOT_BILLABLE, "none of its metrics counts", message.device)
        received_at = from_micros(received)
        decisions = [self._decide(message, item, received_at) for item in items]
        return decisions[0]

    def _useless(self, reason: str, detail: str, device: str | None = None) -> Decision:
        self.unusable[reason] += 1
        return Decision(UNUSABLE, reason, device=device, detail=detail)

    def _counts(self, adapter: str, item: Item) -> bool:
        if self.setting.metrics is not None:
            return item.metric in self.setting.metrics
        return adapter == "json" or item.metric == MESSAGES or item.metric in self.setting.kinds

    def _decide(self, message: Decoded, item: Item, received_at: datetime) -> Decision:
        """One item, in the consumer's order: deduplication first, then objections, then lateness."""
        device = self._device(message.device)
        device_class = self.setting.device_class(device.device_class)
        rules = _DEFAULT_RULES if device_class is None else self._rules[device_class.name]
        resolved = resolve_event_time(message.time, received_at, rules)
        event_at = resolved.at if isinstance(resolved, Resolved) else received_at
        customer = owner_at(device.bindings, event_at)
        bounds = contract_period(event_at, self.setting.terms.calendar)
        place = Place(customer or UNKNOWN_CUSTOMER, item.metric, label(bounds, self.setting.terms.calendar))
        key = self._key(message.device, item)
        known = self._first.setdefault(key, _First(item.fingerprint, place))
        late, reason = self._fate(message, device_class, resolved, customer, bounds, received_at)
        verdict = BILLED if reason is None else QUARANTINED
        if known.place is not place:
            verdict, reason = DUPLICATE, None
            if known.fingerprint != item.fingerprint:
                verdict, reason = QUARANTINED, "id_conflict"
            else:
                place = known.place
        self._count(place, bounds, item, verdict, reason, late)
        if verdict == BILLED:
            self._read(place, item, event_at)
        decision = Decision(
            verdict,
            reason,
            event_id(item.identity),
            message.device,
            place.customer,
            late,
            period=place.period,
        )
        return decision if isinstance(resolved, Ambiguous) else _timed(decision, resolved, bounds)

    def _adds_up(self, metric: str) -> bool:
        kind = self.setting.kinds.get(metric)
        return kind is None or kind.kind == "Delta"

    def _device(self, uid: str) -> Device:
        if self.setting.registry is None:
            return _ANYBODYS
        return self.setting.registry.get(uid, _NOBODYS)

    def _key(self, uid: str, item: Item) -> bytes:
        return packed_key(self._numbers.setdefault(uid, len(self._numbers)), item.identity).key

    def _fate(
        self,
        message: Decoded,
        device_class: DeviceClass | None,
        resolved: Resolved | Ambiguous,
        customer: str | None,
        bounds: Bounds,
        received_at: datetime,
    ) -> tuple[bool, str | None]:
        """Whether a new item is late, and why it is set aside."""
        terms = self.setting.terms
        if self.setting.registry is not None and message.device not in self.setting.registry:
            return False, "unknown_device"
        if device_class is None or message.method.value not in device_class.identity_methods:
            return False, "identity_not_allowed"
        if isinstance(resolved, Ambiguous):
            return False, resolved.reason
        if customer is None:
            return False, "no_contract"
        decision = decide(received_at, bounds, bounds.end + terms.grace, terms.late_usage)
        return decision.late, decision.reason

    def _count(
        self, place: Place, bounds: Bounds, item: Item, verdict: str, reason: str | None, late: bool
    ) -> None:
        tally = self.tallies.setdefault(place, Tally(bounds))
        if verdict == DUPLICATE:
            tally.duplicates += 1
            return
        tally.late += late
        if reason is not None:
            tally.quarantined[reason] += 1
            return
        tally.events += 1
        tally.devices.add(item.identity.device)
        if self._adds_up(item.metric):
            with localcontext(EXACT):
                tally.quantity += item.quantity

    def _read(self, place: Place, item: Item, at: datetime) -> None:
        if self._adds_up(item.metric):
            return
        metric = self.setting.kinds[item.metric]
        shown = self._readings.setdefault((item.identity.device, item.metric), _Readings(metric))
        shown.readings.append(Reading(at, item.quantity, item.register))
        shown.places.append(place)

    def measure(self) -> None:
        """Fill in the quantities of registers and levels, from all that was taken so far."""
        found: dict[Place, Decimal] = defaultdict(Decimal)
        with localcontext(EXACT):
            for shown in self._readings.values():
                by_place = self._consumed if shown.metric.kind == "Cumulative" else self._levels
                for place, quantity in by_place(shown):
                    found[place] += quantity
        for place, quantity in found.items():
            self.tallies[place].quantity = quantity

    def _consumed(self, shown: _Readings) -> Iterable[tuple[Place, Decimal]]:
        """Each step where its later reading counts, also after a sale: the meter ran on."""
        together = [Booking(reading, EPOCH, EPOCH) for reading in shown.readings]
        steps = settled(together, register_of(shown.metric))
        return [(place, step.consumed) for step, place in zip(steps, shown.places, strict=True)]

    def _levels(self, shown: _Readings) -> Iterable[tuple[Place, Decimal]]:
        """The level in each period, of the readings of the same customer."""
        by_customer: dict[str, list[Reading]] = defaultdict(list)
        for reading, place in zip(shown.readings, shown.places, strict=True):
            by_customer[place.customer].append(reading)
        for place in dict.fromkeys(shown.places):
            own = by_customer[place.customer]
            yield place, level(own, shown.metric, self.tallies[place].bounds)


def _timed(decision: Decision, resolved: Resolved, bounds: Bounds) -> Decision:
    """The decision with what is known of the event's time."""
    return replace(
        decision,
        event_at=resolved.at,
        method=resolved.method.name.lower(),
        flags=resolved.flags,
        boundary=resolved.straddles(bounds.start, bounds.end),
    )


_ALWAYS: Final = Binding(DEFAULT_CUSTOMER, datetime.fromisoformat("0001-01-02T00:00:00Z"), None, 0)
_ANYBODYS: Final = Device(DEFAULT_CLASS, (_ALWAYS,))
_DEFAULT_RULES: Final = ClassRules()
_NOBODYS: Final = Device(DEFAULT_CLASS, ())


def label(bounds: Bounds, calendar: Calendar) -> str:
    """A period's name for people: 2023-06, or the day on which a shorter one starts."""
    return f"{bounds.first_day:%Y-%m}" if calendar.interval == "Month" else bounds.first_day.isoformat()


def adapter_of(raw: bytes) -> str | None:
    """The platform that a line most probably comes from, by its names; None for a line that is no object."""
    try:
        message: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    if "dev_eui" in message:
        return "helium"
    return "chirpstack" if "devEUI" in message or "deviceInfo" in message else "json"


def adapter_of_lines(lines: Iterable[bytes]) -> str:
    """The platform of a file: that of its first line that is an object; `json` if there is none."""
    return next((found for found in map(adapter_of, lines) if found is not None), "json")
