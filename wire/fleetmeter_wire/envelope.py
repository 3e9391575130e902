"""Envelope: Fleetmeter's own JSON form of a message, plain or as a CloudEvents 1.0 event."""

import re
import unicodedata
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from fleetmeter_rules import identity
from fleetmeter_rules.device import device_uid, unseen
from fleetmeter_rules.event_time import DeviceTime
from fleetmeter_rules.fingerprint import of_parts, part
from fleetmeter_rules.identity import Identity
from fleetmeter_rules.number import QuantityError, clip, plain, quantity
from fleetmeter_wire.message import MESSAGES, Decoded, Item, MalformedError, NotBillable
from fleetmeter_wire.strict_json import Object, Value
from fleetmeter_wire.timestamp import UNREADABLE, Timestamp, timestamp

MAX_ITEMS: Final = 1000
MAX_ID: Final = 255
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_SEQUENCE: Final = (1 << 64) - 1
_MAX_UPTIME_MS: Final = 10**13
_UNREADABLE_FLAG: Final = "event_time_unreadable"


class _Quantity(msgspec.Struct, frozen=True, gc=False):
    """An item before it has its identity."""

    metric: str
    quantity: Decimal
    register: str


class RequestKey(NamedTuple):
    """An HTTP `Idempotency-Key` and its scope: who sent it, and to which path."""

    principal: str
    route: str
    key: str


def read(message: Object, request: RequestKey | None = None) -> Decoded | NotBillable:
    """The items of an envelope; `request` names one that came by HTTP with a key. Raises MalformedError.

    `device`; its identity, the first of these that is there: `epoch` and `seq`; `id` (and `source`); `cdc` of
    {`connector`, `table`, `offset`}; the request's key; and, weak, `broker` of {`session`, `message`} or a
    hash of the content. `items` of
    {`metric`, `quantity` as a decimal string, `register`?}, absent for one message; `eventAt`, `sentAt`,
    `uptime` and `sentUptime` in milliseconds, `boot`, `sentBoot` (absent: the same), `clockStepped`,
    `historical`. Names that are not known are ignored. A CloudEvents event has these in `data`, with its
    own `id`, `source`, `subject` and `time` standing in for id, source, device and eventAt.
    """
    fields = _unwrapped(message)
    device = _device(fields.get("device"))
    quantities = _quantities(fields)
    if not quantities:
        return NotBillable("an envelope without items")
    event_at = _timestamp(fields, "eventAt")
    names = _identity(device, fields, event_at, quantities, request)
    seen = None if event_at is None else event_at.instant
    # When it was measured by the device's word, not when it was sent, which each attempt states anew.
    when = part("eventAt", seen)
    items = [
        Item(q.metric, q.quantity, _at_index(names, index), of_parts(when, _measured(q)), q.register)
        for index, q in enumerate(quantities)
    ]
    return Decoded(device, names.method, tuple(items), _device_time(fields, event_at))


def _unwrapped(message: Object) -> Object:
    """The envelope's fields, out of a CloudEvents event where the message is one."""
    if "specversion" not in message:
        return message
    if message["specversion"] != "1.0":
        raise MalformedError("specversion must be 1.0")
    data = message.get("data")
    if not isinstance(data, dict):
        raise MalformedError("data of the event must be an object with device and items")
    outer = {"id": message.get("id"), "source": message.get("source")}
    outer |= {"device": message.get("subject"), "eventAt": message.get("time")}
    given = {name: value for name, value in outer.items() if value is not None}
    return given | data


def _device(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedError("device must be text: the device's identity as the registry knows it")
    try:
        return device_uid(value)
    except ValueError as error:
        raise MalformedError(f"device: {error}") from None


def _quantities(fields: Object) -> list[_Quantity]:
    """The items as given; without `items` the message itself is what counts."""
    if "items" not in fields:
        return [_Quantity(MESSAGES, Decimal(1), "")]
    items = fields["items"]
    if not isinstance(items, list):
        raise MalformedError("items must be a list of {metric, quantity}")
    if len(items) > MAX_ITEMS:
        raise MalformedError(f"a message has at most {MAX_ITEMS} items, this one has {len(items)}")
    return [_quantity(index, item) for index, item in enumerate(items)]


def _quantity(index: int, item: Value) -> _Quantity:
    if not isinstance(item, dict):
        raise MalformedError(f"items[{index}] must be an object with metric and quantity")
    metric = item.get("metric")
    if not isinstance(metric, str) or not _is_metric(metric):
        raise MalformedError(
            f"items[{index}].metric must be a metric's code: lower case, digits and _, a letter first"
        )
    given = item.get("quantity")
    if isinstance(given, bool) or not isinstance(given, (str, int, Decimal)):
        raise MalformedError(f"items[{index}].quantity must be a decimal in quotes", "quantity_invalid")
    try:
        amount = quantity(str(given))
    except QuantityError as error:
        raise MalformedError(f"items[{index}].quantity: {error}", "quantity_invalid") from None
    register = _label(item, "register") if "register" in item else ""
    return _Quantity(metric, amount, register)


@lru_cache(maxsize=1024)
def _is_metric(text: str) -> bool:
    return _METRIC.fullmatch(text) is not None


def _identity(
    device: str,
    fields: Object,
    event_at: Timestamp | None,
    quantities: list[_Quantity],
    request: RequestKey | None,
) -> Identity:
    """The strongest identity that the envelope or its request holds."""
    if "epoch" in fields or "seq" in fields:
        sequence = fields.get("seq")
        if isinstance(sequence, str) and re.fullmatch(r"0|[1-9][0-9]{0,19}", sequence, re.ASCII):
            sequence = int(sequence)
        if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence <= _MAX_SEQUENCE:
            raise MalformedError(f"seq must be a whole number from 0 to {_MAX_SEQUENCE}, together with epoch")
        return identity.epoch_sequence(device, _label(fields, "epoch"), sequence)
    if "id" in fields:
        source = _label(fields, "source") if "source" in fields else ""
        return identity.producer_id(device, _label(fields, "id"), source)
    if "cdc" in fields:
        connector, table, offset = _names(fields, "cdc", ("connector", "table", "offset"))
        return identity.cdc_position(device, connector, table, offset)
    if request is not None:
        return identity.http_key(device, *request)
    return _weak_identity(device, fields, event_at, quantities)


def _weak_identity(
    device: str, fields: Object, event_at: Timestamp | None, quantities: list[_Quantity]
) -> Identity:
    """What can merge two events or split one: a class of devices must allow it by name."""
    instant = None if event_at is None else event_at.instant
    texts = [] if instant is None else [instant.isoformat()]
    texts += [f"{q.metric}={plain(q.quantity)}@{q.register}" for q in quantities]
    content = "\n".join(texts).encode()
    if "broker" in fields:
        session, message = _names(fields, "broker", ("session", "message"))
        return identity.broker_id(device, session, message, content)
    if instant is None:
        raise MalformedError("nothing names the event; send epoch and seq, or id, or at least eventAt")
    return identity.content_hash(device, content)


def _names(fields: Object, name: str, parts: tuple[str, ...]) -> list[str]:
    """The named texts of an object that names the event."""
    value = fields[name]
    if not isinstance(value, dict):
        raise MalformedError(f"{name} must be an object of {', '.join(parts)}")
    return [_label(value, part) for part in parts]


def _at_index(names: Identity, index: int) -> Identity:
    return names if index == 0 else Identity(names.method, names.device, names.fields, index)


@lru_cache(maxsize=16_384)
def _measured(item: _Quantity) -> bytes:
    """What was measured, as the parts of a fingerprint that come again and again, in the order of their
    names."""
    register = part("register", item.register or None)
    return part("metric", item.metric) + part("quantity", item.quantity) + register


def _label(fields: Object, name: str) -> str:
    """A short text that names something; a whole number counts as its decimal spelling."""
    value = fields.get(name)
    if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isascii() and value.isprintable():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise MalformedError(f"{name} must be text of 1 to {MAX_ID} characters")
    if unseen(value):
        raise MalformedError(f"{name} holds a character that can't be seen: {clip(value)}")
    return unicodedata.normalize("NFC", value)


def _timestamp(fields: Object, name: str) -> Timestamp | None:
    """None where the device says nothing; UNREADABLE where it says something that is no time."""
    value = fields.get(name)
    return None if value is None else timestamp(value)


def _device_time(fields: Object, event_at: Timestamp | None) -> DeviceTime | None:
    sent_at = _timestamp(fields, "sentAt") or UNREADABLE
    instant = None if event_at is None else event_at.instant
    unreadable = event_at is not None and instant is None
    flags = sent_at.flags if event_at is None else event_at.flags + sent_at.flags
    found = DeviceTime(
        instant,
        sent_at.instant,
        _uptime(fields, "uptime") if "uptime" in fields else None,
        _uptime(fields, "sentUptime") if "sentUptime" in fields else None,
        (_boot(fields, "boot") if "boot" in fields else None) or _boot(fields, "epoch"),
        _boot(fields, "sentBoot") if "sentBoot" in fields else None,
        fields.get("clockStepped") is True,
        fields.get("historical") is True,
        unreadable,
        (*flags, _UNREADABLE_FLAG) if unreadable else flags,
    )
    return found if found.says_something else None


def _uptime(fields: Object, name: str) -> timedelta | None:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    return timedelta(microseconds=int(value * 1000)) if 0 <= value <= _MAX_UPTIME_MS else None


def _boot(fields: Object, name: str) -> str | None:
    value = fields.get(name)
    if isinstance(value, str):
        return value if 0 < len(value) <= MAX_ID else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
