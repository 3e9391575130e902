"""LoRaWAN: what the adapters of network servers have in common, an uplink frame as two billable items."""

import json
import re
from decimal import Decimal
from typing import Any

from fleetmeter_rules import identity
from fleetmeter_rules.fingerprint import fingerprint
from fleetmeter_rules.identity import IdentityMethod
from fleetmeter_rules.number import clip
from fleetmeter_wire.message import MESSAGES, PAYLOAD_BYTES, Decoded, Item, MalformedError
from fleetmeter_wire.strict_json import Object

_EUI = re.compile(r"[0-9a-fA-F]{16}")
_ADDR = re.compile(r"[0-9a-fA-F]{8}")
_MAX_COUNTER = (1 << 32) - 1


def device_eui(message: Object, name: str) -> str:
    """The devEUI under that name, in 16 lower-case hexadecimal digits. Raises MalformedError."""
    value = message.get(name)
    if not isinstance(value, str) or not _EUI.fullmatch(value):
        raise MalformedError(f"{name} must be 16 hexadecimal digits, not {shown(value)}")
    return value.lower()


def device_address(message: Object, name: str) -> str | None:
    """The DevAddr under that name in lower case, None if the platform gives none. Raises MalformedError."""
    value = message.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _ADDR.fullmatch(value):
        raise MalformedError(f"{name} must be 8 hexadecimal digits, not {shown(value)}")
    return value.lower()


def frame_counter(value: object, name: str) -> int:
    """A 32-bit frame counter. Raises MalformedError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNTER:
        raise MalformedError(f"{name} must be a whole number from 0 to {_MAX_COUNTER}, not {shown(value)}")
    return value


def uplink(
    device: str, session: str | None, counter: int, size: int | None, content: dict[str, str | bytes | int]
) -> Decoded:
    """The frame's items: one message, and its payload's bytes where the platform tells how many."""
    quantities = [(MESSAGES, Decimal(1))]
    if size is not None:
        quantities.append((PAYLOAD_BYTES, Decimal(size)))
    items = tuple(
        Item(
            metric,
            quantity,
            identity.lorawan(device, session, counter, index),
            fingerprint([("metric", metric), ("quantity", quantity), *content.items()]),
        )
        for index, (metric, quantity) in enumerate(quantities)
    )
    return Decoded(device, IdentityMethod.LORAWAN, items)


def canonical_json(value: Any) -> bytes:
    """A decoded payload as bytes that do not depend on the order of names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def shown(value: object) -> str:
    """A foreign value for a message to people."""
    if value is None:
        return "absent"
    if isinstance(value, str):
        return clip(value)
    return clip(str(value)) if isinstance(value, (int, Decimal)) else f"a {type(value).__name__}"
