"""Envelope: each fact that a message can state, and each class of hostile input with its verdict."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleetmeter_rules import identity
from fleetmeter_rules.event_time import DeviceTime
from fleetmeter_rules.identity import IdentityMethod
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import MAX_BYTES, Decoded, NotBillable, Refusal

BASE: dict[str, Any] = {
    "device": "pump-7",
    "epoch": 3,
    "seq": 41,
    "items": [{"metric": "energy", "quantity": "1.50"}, {"metric": "messages", "quantity": "1"}],
}


def text(**changes: Any) -> bytes:
    fields = {name: value for name, value in {**BASE, **changes}.items() if value is not ...}
    return json.dumps(fields).encode()


def read(raw: bytes) -> Decoded:
    found = decode("json", raw)
    assert isinstance(found, Decoded), found
    return found


def test_items_have_identities_by_index() -> None:
    found = read(text())
    assert found.device == "pump-7"
    assert found.method is IdentityMethod.EPOCH_SEQUENCE
    assert found.time is None
    assert [(item.metric, item.quantity) for item in found.items] == [
        ("energy", Decimal("1.5")),
        ("messages", Decimal(1)),
    ]
    assert [item.identity for item in found.items] == [
        identity.epoch_sequence("pump-7", "3", 41, 0),
        identity.epoch_sequence("pump-7", "3", 41, 1),
    ]


def test_numbers_as_text_or_not_are_one_identity() -> None:
    assert read(text(epoch="3", seq="41")).items == read(text()).items
    assert read(text(id=7, epoch=..., seq=...)).items == read(text(id="7", epoch=..., seq=...)).items


def test_an_epoch_and_a_sequence_are_stronger_than_an_id() -> None:
    assert read(text(id="x")).items == read(text()).items


def test_a_message_without_items_is_one_message() -> None:
    item = read(text(items=...)).items[0]
    assert (item.metric, item.quantity) == ("messages", Decimal(1))
    assert isinstance(decode("json", text(items=[])), NotBillable)


def test_cloudevents_in_structured_mode() -> None:
    event = {
        "specversion": "1.0",
        "type": "io.example.usage",
        "id": "e-1",
        "source": "/plant/3",
        "subject": "A8:17:58:FF:FE:04:B1:C1",
        "time": "2026-04-01T00:00:00+02:00",
        "data": {"items": BASE["items"], "sentAt": "2026-04-01T00:00:05+02:00"},
    }
    found = read(json.dumps(event).encode())
    assert found.items[1].identity == identity.producer_id("a81758fffe04b1c1", "e-1", "/plant/3", 1)
    assert found.time is not None
    assert found.time.event_at == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert found.time.sent_at == datetime(2026, 3, 31, 22, 0, 5, tzinfo=UTC)


def test_the_devices_clocks() -> None:
    found = read(
        text(
            eventAt="2026-03-31T23:59:60Z",
            sentAt=1775001600000,
            uptime=1500,
            sentUptime=61500.5,
            boot="b1",
            sentBoot="b2",
            clockStepped=True,
            historical=True,
        )
    )
    assert found.time == DeviceTime(
        event_at=datetime(2026, 4, 1, tzinfo=UTC),
        sent_at=datetime(2026, 4, 1, tzinfo=UTC),
        event_uptime=timedelta(milliseconds=1500),
        sent_uptime=timedelta(milliseconds=61500, microseconds=500),
        event_boot="b1",
        sent_boot="b2",
        clock_stepped=True,
        historical=True,
        flags=("second_60",),
    )


def test_the_epoch_is_the_boot_unless_told_otherwise() -> None:
    found = read(text(eventAt="2026-03-31T23:59:59Z", uptime=1, sentUptime=2))
    assert found.time is not None
    assert found.time.event_boot == "3"


@pytest.mark.parametrize(
    "stated",
    [
        "yesterday",
        "2026-03-31T23:59:59",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30T00:00:00Z",
        "2026-03-31T24:00:00Z",
        "２０２６-03-31T00:00:00Z",
        "",
        -1,
        1e30,
        True,
        [],
        {},
        "2026-03-31T00:00:00+24:00",
    ],
)
def test_an_event_time_that_is_none_is_not_no_event_time(stated: object) -> None:
    found = read(text(eventAt=stated))
    assert found.time == DeviceTime(unreadable=True, event_boot="3", flags=("event_time_unreadable",))


@pytest.mark.parametrize(
    "stated", [1775001600, 1775001600000, 1775001600000000, 1775001600000000000, "2026-04-01t00:00:00.000z"]
)
def test_units_of_a_number_follow_from_its_size(stated: object) -> None:
    found = read(text(eventAt=stated))
    assert found.time is not None
    assert found.time.event_at == datetime(2026, 4, 1, tzinfo=UTC)


def test_the_fingerprint_covers_content_and_not_the_sending() -> None:
    stamped = {"eventAt": "2026-03-31T23:59:59Z"}
    first = read(text(**stamped, sentAt=1775001600, sentUptime=5, boot="1")).items[0].fingerprint
    again = read(text(**stamped, sentAt=1775009999, sentUptime=9, boot="2", gateway="g")).items[0].fingerprint
    assert first == again
    for changed in (
        text(**stamped, items=[{"metric": "energy", "quantity": "1.51"}]),
        text(**stamped, items=[{"metric": "water", "quantity": "1.5"}]),
        text(**stamped, items=[{"metric": "energy", "quantity": "1.5", "register": "2"}]),
        text(eventAt="2026-03-31T23:59:58Z"),
    ):
        assert read(changed).items[0].fingerprint != first
    assert read(text(**stamped, items=[{"metric": "energy", "quantity": 1.5}])).items[0].fingerprint == first


def test_content_is_the_last_resort_and_needs_a_time() -> None:
    weak = read(text(epoch=..., seq=..., eventAt="2026-03-31T23:59:59.000001Z"))
    other = read(text(epoch=..., seq=..., eventAt="2026-03-31T23:59:59.000002Z"))
    assert weak.method is IdentityMethod.CONTENT_HASH
    assert weak.items[0].identity != other.items[0].identity
    refused = decode("json", text(epoch=..., seq=...))
    assert isinstance(refused, Refusal)
    assert "nothing names the event" in refused.detail


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


@pytest.mark.parametrize("name", HOSTILE_QUANTITIES)
def test_hostile_quantities(name: str) -> None:
    assert_refused(HOSTILE_QUANTITIES[name], "quantity_invalid")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_messages(name: str) -> None:
    assert_refused(HOSTILE[name], "unparseable")


def assert_refused(raw: bytes, reason: str) -> None:
    found = decode("json", raw)
    assert isinstance(found, Refusal), found
    assert found.reason == reason, found
    assert found.detail.isprintable() and 10 < len(found.detail) < 300
    found.detail.encode()


def test_markup_and_formulas_in_names_are_only_text() -> None:
    for name in ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "'; drop table event; --", "..%2f..%2f"):
        assert read(text(device=name)).device == name


def test_at_most_so_many_bytes() -> None:
    large = text(x="x" * MAX_BYTES)
    found = decode("json", large)
    assert isinstance(found, Refusal)
    assert found.reason == "too_large"
    fitting = text(x="")
    assert isinstance(decode("json", text(x="x" * (MAX_BYTES - len(fitting)))), Decoded)


def test_an_unknown_adapter_is_refused_with_the_known_ones() -> None:
    found = decode("sparkplug\u202e", text())
    assert isinstance(found, Refusal)
    assert found.reason == "unknown_adapter"
    assert "chirpstack, helium, json" in found.detail and found.detail.isprintable()


def test_a_refusal_names_the_device_where_it_can() -> None:
    found = decode("json", item("NaN"))
    assert isinstance(found, Refusal)
    assert found.device == "pump-7"
