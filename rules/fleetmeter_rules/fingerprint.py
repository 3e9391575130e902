"""Fingerprint: 16 bytes over an item's decoded billable content, which tell a duplicate from a conflict."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
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
    return of_parts(*(part(name, value) for name, value in sorted(content, key=itemgetter(0))))


def part(name: str, value: Value) -> bytes:
    """One named value of a fingerprint, each behind its length; nothing for None."""
    if value is None:
        return b""
    encoded = _encode(value)
    return _label(name) + len(encoded).to_bytes(4, "big") + encoded


def of_parts(*parts: bytes) -> bytes:
    """The fingerprint of parts that are in the order of their names."""
    return hashlib.sha256(b"fp1" + b"".join(parts)).digest()[:16]


@lru_cache(maxsize=64)
def _label(name: str) -> bytes:
    """The name behind its length."""
    label = name.encode()
    return len(label).to_bytes(4, "big") + label


def _encode(value: str | bytes | int | Decimal | datetime) -> bytes:
    """Type letter and text, so that 1, "1" and b"1" differ."""
    if isinstance(value, datetime):
        return b"t%d" % to_micros(value)
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, Decimal):
        return b"d" + plain(value).encode()
    if isinstance(value, int):
        return b"i" + str(value).encode()
    return b"s" + value.encode()
