"""Hostile envelopes: inputs that a device, a broken firmware or an attacker sends, each with its fate."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fleetmeter_rules.instant import to_micros
from fleetmeter_wire.message import MAX_BYTES
from fleetmeter_wire.record import Headers, encode_headers

BASE: dict[str, Any] = {
    "device": "pump-7",
    "epoch": 3,
    "seq": 41,
    "items": [{"metric": "energy", "quantity": "1.50"}, {"metric": "messages", "quantity": "1"}],
}


def text(**changes: Any) -> bytes:
    fields = {name: value for name, value in {**BASE, **changes}.items() if value is not ...}
    return json.dumps(fields).encode()


def item(quantity: Any, metric: Any = "energy") -> bytes:
    return text(items=[{"metric": metric, "quantity": quantity}])


HOSTILE_QUANTITIES: dict[str, bytes] = {
    "NaN as text": item("NaN"),
    "nan as text": item("nan"),
    "sNaN as text": item("sNaN"),
    "Infinity as text": item("Infinity"),
    "bare NaN": item(0).replace(b": 0}", b": NaN}"),
    "bare Infinity": item(0).replace(b": 0}", b": Infinity}"),
    "bare -Infinity": item(0).replace(b": 0}", b": -Infinity}"),
    "1e400 as number": item(0).replace(b": 0}", b": 1e400}"),
    "1e400 as text": item("1e400"),
    "negative": item("-1"),
    "negative number": item(-5),
    "eleven integer digits": item("10000000000"),
    "eleven fraction digits": item("0.00000000001"),
    "too small": item("4e-11"),
    "Arabic digits": item("١٠"),
    "full-width digits": item("１"),
    "underscore": item("1_000"),
    "plus sign": item("+1"),
    "comma": item("1,5"),
    "hexadecimal": item("0x10"),
    "leading zeros": item("007"),
    "empty text": item(""),
    "space": item(" 1"),
    "true": item(True),
    "null": item(None),
    "list": item([1]),
    "object": item({"value": 1}),
    "absent": text(items=[{"metric": "energy"}]),
    "digits without end as text": item("9" * 5000),
}

HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"  ",
    "no JSON": b"hello",
    "not UTF-8": b'{"device": "\xff"}',
    "UTF-16": text().decode().encode("utf-16"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + text(),
    "NUL bytes": b"\x00" * 20,
    "cut short": text()[:-1],
    "two documents": text() + text(),
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "text": b'"x"',
    "duplicate key": text()[:-1] + b', "device": "other"}',
    "duplicate key deep inside": text(x=1).replace(b'"x": 1', b'"x": {"a": 1, "a": 2}'),
    "nested lists": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "nested inside": text(x=1).replace(b'"x": 1', b'"x": ' + b"[" * 40 + b"]" * 40),
    "digits without end": text(x=1).replace(b'"x": 1', b'"x": ' + b"9" * 5000),
    "exponent without end": text(x=1).replace(b'"x": 1', b'"x": 1e' + b"9" * 50),
    "no device": text(device=...),
    "null device": text(device=None),
    "numeric device": text(device=7),
    "empty device": text(device=""),
    "long device": text(device="x" * 300),
    "device with a lone surrogate": text(device="\ud800"),
    "device with NUL": text(device="a\x00b"),
    "device with a line end": text(device="a\nb"),
    "device that changes direction": text(device="a\u202eb"),
    "device with an invisible character": text(device="pump\u200b-7"),
    "id with a lone surrogate": text(epoch=..., seq=..., id="\udfff"),
    "id of ten thousand characters": text(epoch=..., seq=..., id="x" * 10_000),
    "empty id": text(epoch=..., seq=..., id=""),
    "id that is a list": text(epoch=..., seq=..., id=["1"]),
    "id with NUL": text(epoch=..., seq=..., id="\x00"),
    "sequence without epoch": text(epoch=...),
    "epoch without sequence": text(seq=...),
    "negative sequence": text(seq=-1),
    "fractional sequence": text(seq=1.5),
    "sequence that is true": text(seq=True),
    "sequence with zeros before": text(seq="007"),
    "sequence in Arabic digits": text(seq="٤١"),
    "sequence over 64 bits": text(seq=1 << 64),
    "items that are an object": text(items={}),
    "items that are text": text(items="x"),
    "item that is a number": text(items=[1]),
    "item that is null": text(items=[None]),
    "too many items": text(items=[{"metric": "energy", "quantity": "1"}] * 1001),
    "no metric": text(items=[{"quantity": "1"}]),
    "metric with a capital": item("1", "Energy"),
    "metric with a quote": item("1", "e'; drop table event; --"),
    "metric in another script": item("1", "еnergy"),
    "long metric": item("1", "e" * 64),
    "metric that is a list": item("1", ["energy"]),
    "register that is a list": text(items=[{"metric": "energy", "quantity": "1", "register": []}]),
    "another version of CloudEvents": text(specversion="0.3", data={}),
    "an event without data": text(specversion="1.0"),
    "an event with text as data": text(specversion="1.0", data="x"),
}


@dataclass(frozen=True)
class Hostile:
    """A record and what becomes of it: a reason of the quarantine, or None where it is billed.

    `whole`: no item of it was read. `headers`: the record's own, instead of those that a gateway writes.
    """

    name: str
    raw: bytes
    reason: str | None
    adapter: str = "json"
    whole: bool = False
    headers: list[tuple[str, bytes | None]] | None = field(default=None)


NOON = datetime(2023, 1, 10, 12, tzinfo=UTC)
BACKFILL = "20230101-20231001"


def _written(**changes: Any) -> list[tuple[str, bytes | None]]:
    """The headers of history, as a gateway writes them, with some changed; ... leaves one out."""
    received = to_micros(NOON)
    pairs = encode_headers(Headers("json", "mqtt", "t", received, "uplink/json", BACKFILL, received))
    kept = [(name, value) for name, value in pairs if name not in changes]
    return [*kept, *((name, value) for name, value in changes.items() if value is not ...)]


def _fresh(sequence: int, **changes: Any) -> bytes:
    """A message of a registered device that is right but for the changes."""
    return text(**({"device": "meter-1", "epoch": "9", "seq": sequence, "items": ...} | changes))


def _timed(sequence: int, stated: object) -> bytes:
    return _fresh(sequence, eventAt=stated)


_WRITTEN: dict[str, list[tuple[str, bytes | None]]] = {
    "no headers": [],
    "a version to come": _written(v=b"2"),
    "no version": _written(v=...),
    "no adapter": _written(adapter=...),
    "a header without a value": _written(principal=None),
    "a header given twice": [*_written(), ("adapter", b"json")],
    "a header that is not ASCII": _written(topic=b"\xff\xfe"),
    "a header of half a percent sign": _written(topic=b"%ff"),
    "an entry that is none": _written(entry=b"carrier pigeon"),
    "a time of receipt in words": _written(received=b"yesterday"),
    "a time of receipt in Arabic digits": _written(received="١٢".encode()),
    "a time of receipt without end": _written(received=b"9" * 400),
    "a time of receipt of minus signs": _written(received=b"--5"),
    "a stated time in words": _written(stated=b"NaN"),
}

_ENTRANCE: tuple[Hostile, ...] = (
    *(Hostile(name, _fresh(1), "unparseable", whole=True, headers=h) for name, h in _WRITTEN.items()),
    Hostile(
        "a refusal that nobody knows", b"{", "unparseable", whole=True, headers=_written(refusal=b"moon")
    ),
    Hostile(
        "a refusal of the entrance", b"{", "too_large", whole=True, headers=_written(refusal=b"too_large")
    ),
    Hostile("no adapter of that name", _fresh(2), "unknown_adapter", "sigfox\x00\u202e", whole=True),
    Hostile("one byte more than the most", b" " * (MAX_BYTES + 1), "too_large", whole=True),
    Hostile(
        "an id of nine hundred kilobytes",
        _fresh(3, epoch=..., seq=..., id="x" * 900_000),
        "too_large",
        whole=True,
    ),
    Hostile("a bomb of brackets", b"[" * 900_000, "too_large", whole=True),
    Hostile("an empty record", b"", "unparseable", whole=True),
    Hostile("a frame that is none", b"[]", "unparseable", "chirpstack", whole=True),
    Hostile("a frame of another platform", _fresh(4), "unparseable", "helium", whole=True),
    Hostile(
        "a frame with NaN",
        b'{"devEUI":"00000000000000aa","fCnt":NaN}',
        "quantity_invalid",
        "chirpstack",
        whole=True,
    ),
    Hostile(
        "a frame with a negative counter",
        b'{"devEUI":"00000000000000aa","fCnt":-1,"fPort":1,"data":"AQ=="}',
        "unparseable",
        "chirpstack",
        whole=True,
    ),
    Hostile(
        "a backfill that nobody asked for",
        _fresh(5),
        "backfill_closed",
        headers=_written(backfill=b"'; drop table event; --"),
    ),
    Hostile(
        "a stated time in the year 1",
        _fresh(6),
        "backfill_range",
        headers=_written(stated=b"-62135596800000000"),
    ),
    Hostile(
        "a stated time out of the calendar",
        _fresh(7),
        "unparseable",
        whole=True,
        headers=_written(stated=b"9" * 18),
    ),
    Hostile(
        "a time of receipt out of the calendar",
        _fresh(8),
        "unparseable",
        whole=True,
        headers=_written(received=b"9" * 18),
    ),
    Hostile("history that states no time", _fresh(9), "backfill_range", headers=_written(stated=...)),
)

_NO_TIMES: tuple[object, ...] = (
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59Z", 253402300800000),
    *("2023-01-10T11:59:00", "2023-02-30T00:00:00Z", "2023-01-10T24:00:00Z", "2023-01-10T11:59:00+24:00"),
    *("２０２３-01-10T00:00:00Z", "yesterday", "", -1, 1e30, True, [], {}),
)

_TIMES: tuple[Hostile, ...] = (
    *(
        Hostile(f"event time {stated!a}", _timed(100 + number, stated), "time_ambiguous")
        for number, stated in enumerate(_NO_TIMES)
    ),
    Hostile("second 60", _timed(150, "2023-01-10T11:58:60Z"), None),
    Hostile("an uptime without end", _fresh(151, uptime=10**30, sentUptime=10**31), None),
    Hostile(
        "an uptime that runs backwards",
        _fresh(152, uptime=10, sentUptime=5, eventAt="yesterday"),
        "time_ambiguous",
    ),
)

_NAMES: tuple[Hostile, ...] = (
    Hostile("a device that nobody knows", _fresh(200, device="stranger"), "unknown_device"),
    Hostile("a device that is a formula", _fresh(201, device="=cmd|' /C calc'!A0"), "unknown_device"),
    Hostile("a device that is markup", _fresh(202, device="<script>alert(1)</script>"), "unknown_device"),
    Hostile("a device that is SQL", _fresh(203, device="'; drop table event; --"), "unknown_device"),
    Hostile("a device in look-alike letters", _fresh(204, device="mеter-1"), "unknown_device"),
    Hostile("a device of the longest name", _fresh(205, device="\U0001f600" * 255), "unknown_device"),
    Hostile(
        "a metric that nobody declared",
        _fresh(206, items=[{"metric": "steam", "quantity": "1"}]),
        "metric_unknown",
    ),
    Hostile(
        "a weak identity",
        _fresh(207, epoch=..., seq=..., eventAt="2023-01-10T11:59:00Z"),
        "identity_not_allowed",
    ),
    Hostile("an epoch that is a formula", _fresh(208, epoch="=1+1"), None),
    Hostile("an epoch in another script", _fresh(209, epoch="٣"), None),
    Hostile("an epoch of the longest name", _fresh(210, epoch="\U0001f600" * 255), None),
    Hostile("the largest sequence", _fresh(211, seq=(1 << 64) - 1), None),
    Hostile(
        "an id with every kind of quote", _fresh(212, epoch=..., seq=..., id="a'b\"c`d\\e;--%s%(x)s{0}"), None
    ),
    Hostile(
        "the most items", _fresh(213, items=[{"metric": "energy", "quantity": "0.0000000001"}] * 1000), None
    ),
    Hostile(
        "the largest quantity",
        _fresh(214, items=[{"metric": "energy", "quantity": "9999999999.9999999999"}]),
        None,
    ),
    Hostile("an exponent", _fresh(215, items=[{"metric": "energy", "quantity": "1E+3"}]), None),
    Hostile("minus zero", _fresh(216, items=[{"metric": "energy", "quantity": "-0"}]), None),
    Hostile(
        "names that mean nothing",
        _fresh(217, __proto__={"admin": True}, billed=True, customer="globex"),
        None,
    ),
)

ALL: tuple[Hostile, ...] = (
    *(
        Hostile(f"quantity: {name}", raw, "quantity_invalid", whole=True)
        for name, raw in HOSTILE_QUANTITIES.items()
    ),
    *(Hostile(name, raw, "unparseable", whole=True) for name, raw in HOSTILE.items()),
    *_ENTRANCE,
    *_TIMES,
    *_NAMES,
)
"""Every class, with the verdict and the reason that it must get."""
