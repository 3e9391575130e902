"""Trial: the billing rules run over messages in memory, with no queue and no database."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fleetmeter_api.region import DEFAULT_CLASS, DeviceClass, Metric, MetricKind
from fleetmeter_cli.tally import Place, Shown, Tally, Usage, measure
from fleetmeter_rules.calendar import BilledTime, Bounds, Calendar, contract_period, cut_off
from fleetmeter_rules.contracts import Defaults
from fleetmeter_rules.event_time import Ambiguous, ClassRules, Resolved, resolve_event_time, rules_of
from fleetmeter_rules.identity import event_id, packed_key
from fleetmeter_rules.instant import from_micros, rfc3339
from fleetmeter_rules.lateness import LATE_AFTER_FINAL, Action, amendment, decide
from fleetmeter_rules.metering import Booking, Reading
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
    `kinds`. `kinds`: what is known of metrics, by code; all others are amounts that add up. `billed`: a
    region's time; None: all time.
    """

    terms: Defaults
    registry: dict[str, Device] | None = None
    classes: tuple[DeviceClass, ...] = (DeviceClass(name=DEFAULT_CLASS),)
    metrics: frozenset[str] | None = None
    kinds: Mapping[str, Metric] = field(default_factory=dict[str, Metric])
    billed: BilledTime | None = None

    def bills(self, period: Bounds) -> bool:
        """Whether the period has a part in the region's time."""
        return self.billed is None or self.billed.touches(period)

    def device_class(self, name: str) -> DeviceClass | None:
        """The class of that name; without a region's classes every class is the default one."""
        found = next((known for known in self.classes if known.name == name), None)
        return self.classes[0] if found is None and len(self.classes) == 1 else found


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one message: that of its first item that counts.

    `period`: the one that bills it; `belongs_to`: the earlier one whose usage it is, where it is deferred.
    `revision`: which version of its own period's invoice bills it, more than 1 for an amended one; 0: none.
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
    belongs_to: str | None = None
    revision: int = 1
    detail: str = ""
    flags: tuple[str, ...] = ()
    boundary: bool = False

    def document(self, line: int, file: str) -> dict[str, Any]:
        """The decision as JSON values; what only late usage has stands there for late usage alone."""
        found = {
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
        if self.belongs_to is not None:
            found["belongs_to"] = self.belongs_to
        if self.revision > 1:
            found["revision"] = self.revision
        return found


@dataclass(frozen=True, slots=True)
class _First:
    fingerprint: bytes
    place: Place


@dataclass(frozen=True, slots=True)
class _Fate:
    """What becomes of new items: the period where they count, and a reason if they are set aside.

    `revision`: 1 in the own period; 0 where they are deferred to another one; more where the own period is
    amended. `booked_at`: when the invoice that bills them is closed.
    """

    bounds: Bounds
    late: bool
    reason: str | None
    booked_at: datetime
    revision: int = 1


@dataclass(frozen=True, slots=True)
class _Case:
    """What holds for all items of a message. `own`: the period that holds its time."""

    message: Decoded
    received_at: datetime
    event_at: datetime
    resolved: Resolved | Ambiguous
    customer: str
    own: Bounds
    fate: _Fate


class Trial:
    """Messages in, in their order of arrival; tallies by customer, metric and period out.

    Time is when messages were received: a period is final at its cut-off.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.read = 0
        self.unusable: Counter[str] = Counter()
        self.tallies: dict[Place, Tally] = {}
        self._first: dict[bytes, _First] = {}
        self._shown: dict[tuple[str, str], list[Shown]] = defaultdict(list)
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
        case = self._case(message, from_micros(received))
        decisions = [self._decide(case, item) for item in items]
        return decisions[0]

    def measure(self) -> None:
        """Fill in the quantities of registers and levels, from all that was taken so far."""
        for shown in self._shown.values():
            for each in shown:
                each.usage.quantity = Decimal(0)
        for (_, metric), shown in self._shown.items():
            measure(self.setting.kinds[metric], shown, self.tallies)

    def _useless(self, reason: str, detail: str, device: str | None = None) -> Decision:
        self.unusable[reason] += 1
        return Decision(UNUSABLE, reason, device=device, detail=detail)

    def _counts(self, adapter: str, item: Item) -> bool:
        if self.setting.metrics is not None:
            return item.metric in self.setting.metrics
        return adapter == "json" or item.metric == MESSAGES or item.metric in self.setting.kinds

    def _case(self, message: Decoded, received_at: datetime) -> _Case:
        """Objections first, then lateness, as the consumer does."""
        device = self._device(message.device)
        device_class = self.setting.device_class(device.device_class)
        rules = _DEFAULT_RULES if device_class is None else self._rules[device_class.name]
        resolved = resolve_event_time(message.time, received_at, rules)
        event_at = resolved.at if isinstance(resolved, Resolved) else received_at
        customer = owner_at(device.bindings, event_at)
        own = contract_period(event_at, self.setting.terms.calendar)
        fate = self._fate(own, received_at)
        is_billed = customer is not None and self.setting.bills(own)
        objection = self._objection(message, device_class, resolved, is_billed)
        if objection is not None:
            late = isinstance(resolved, Resolved) and is_billed and received_at >= own.end
            fate = _Fate(own, late, objection, fate.booked_at)
        return _Case(message, received_at, event_at, resolved, customer or UNKNOWN_CUSTOMER, own, fate)

    def _device(self, uid: str) -> Device:
        if self.setting.registry is None:
            return _ANYBODYS
        return self.setting.registry.get(uid, _NOBODYS)

    def _objection(
        self,
        message: Decoded,
        device_class: DeviceClass | None,
        resolved: Resolved | Ambiguous,
        is_billed: bool,
    ) -> str | None:
        """Why its items are set aside, whenever they came."""
        if self.setting.registry is not None and message.device not in self.setting.registry:
            return "unknown_device"
        if device_class is None or message.method.value not in device_class.identity_methods:
            return "identity_not_allowed"
        if isinstance(resolved, Ambiguous):
            return resolved.reason
        return None if is_billed else "no_contract"

    def _fate(self, own: Bounds, received_at: datetime) -> _Fate:
        """Where usage of the period counts that was received then."""
        terms = self.setting.terms
        final_at = cut_off(own, terms.grace)
        decision = decide(received_at, own, final_at, terms.late_usage)
        if decision.action is Action.DEFER:
            # The period of receipt is open: what is received in it comes before its cut-off.
            taker = contract_period(received_at, terms.calendar)
            if self.setting.bills(taker):
                return _Fate(taker, True, None, cut_off(taker, terms.grace), 0)
            return _Fate(own, True, LATE_AFTER_FINAL, final_at)
        if decision.action is Action.REOPEN:
            amended = amendment(own, received_at, terms.calendar, terms.grace)
            return _Fate(own, True, None, amended.due_at, amended.revision)
        return _Fate(own, decision.late, decision.reason, final_at)

    def _decide(self, case: _Case, item: Item) -> Decision:
        """One item; before all else it may be a copy, which counts with the first one."""
        fate, uid = case.fate, case.message.device
        place = Place(case.customer, item.metric, self._label(fate.bounds))
        known = self._first.setdefault(self._key(uid, item), _First(item.fingerprint, place))
        verdict, reason = BILLED if fate.reason is None else QUARANTINED, fate.reason
        if known.place is not place and known.fingerprint == item.fingerprint:
            verdict, reason, place = DUPLICATE, None, known.place
        elif known.place is not place:
            verdict, reason = QUARANTINED, "id_conflict"
        self._count(case, item, place, verdict, reason)
        billed = verdict == BILLED
        decision = Decision(
            verdict,
            reason,
            event_id(item.identity),
            uid,
            place.customer,
            fate.late,
            period=place.period,
            belongs_to=self._label(case.own) if billed and fate.revision == 0 else None,
            revision=fate.revision if billed else 1,
        )
        return _timed(decision, case.resolved, case.own) if isinstance(case.resolved, Resolved) else decision

    def _key(self, uid: str, item: Item) -> bytes:
        return packed_key(self._numbers.setdefault(uid, len(self._numbers)), item.identity).key

    def _label(self, bounds: Bounds) -> str:
        return label(bounds, self.setting.terms.calendar)

    def _count(self, case: _Case, item: Item, place: Place, verdict: str, reason: str | None) -> None:
        tally = self.tallies.get(place)
        if tally is None:
            is_level = self._kind(item.metric) == "Gauge"
            tally = self.tallies[place] = Tally(Usage(case.fate.bounds), is_level)
        if verdict == DUPLICATE:
            tally.duplicates += 1
            return
        tally.late += case.fate.late
        if reason is not None:
            tally.quarantined[reason] += 1
            return
        self._bill(case, item, place, tally)

    def _bill(self, case: _Case, item: Item, place: Place, tally: Tally) -> None:
        fate, usage = case.fate, tally.own
        if fate.revision == 0:
            usage = tally.deferred.setdefault(self._label(case.own), Usage(case.own))
        tally.amended += fate.revision > 1
        if self._kind(item.metric) == "Delta":
            usage.add(item.identity.device, item.quantity)
            return
        usage.add(item.identity.device, Decimal(0))
        reading = Reading(case.event_at, item.quantity, item.register)
        booking = Booking(reading, fate.booked_at, case.received_at)
        self._shown[item.identity.device, item.metric].append(
            Shown(booking, place, usage, in_time=fate.revision == 1)
        )

    def _kind(self, metric: str) -> MetricKind:
        known = self.setting.kinds.get(metric)
        return "Delta" if known is None else known.kind


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
