"""Fingerprint: 16 bytes over an item's decoded billable content, which tell a duplicate from a conflict."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from operator import itemgetter

from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.number import plain

Value = str | bytes | int | Decimal | datetime | None


def fingerprint(content: Iterable[tuple[str, Value]]) -> bytes:
    """The fingerprint of named values, each name once, in any order; a value of None counts as absent.

    Give it what the device measured and what it says about when (metric, quantity, payload, event time);
    never what the way to us added (radio gateways, signal strength, send or receive time). Decimals compare
    by value.
    """
    parts = [b"fp1"]
    for name, value in sorted(content, key=itemgetter(0)):
        if value is not None:
            label, encoded = name.encode(), _encode(value)
            parts += (len(label).to_bytes(4, "big"), label, len(encoded).to_bytes(4, "big"), encoded)
    return hashlib.sha256(b"".join(parts)).digest()[:16]


def _encode(value: Value) -> bytes:
    """Type letter and text, so that 1, "1" and b"1" differ."""
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, Decimal):
        return b"d" + plain(value).encode()
    if isinstance(value, datetime):
        return b"t" + str(to_micros(value)).encode()
    if isinstance(value, int):
        return b"i" + str(value).encode()
    return b"s" + (value or "").encode()
