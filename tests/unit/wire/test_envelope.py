"""Envelope: each fact that a message can state, and each class of hostile input with its verdict."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleetmeter_rules import identity
from fleetmeter_rules.event_time import DeviceTime
from fleetmeter_rules.fingerprint import Value, fingerprint
from fleetmeter_rules.identity import IdentityMethod
from fleetmeter_wire.decode import decode
from fleetmeter_wire.envelope import RequestKey
from fleetmeter_wire.message import MAX_BYTES, Decoded, NotBillable, Refusal

from ...integration.ledger.hostile_envelopes import BASE, HOSTILE, HOSTILE_QUANTITIES, item, text


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


def test_each_method_names_its_event() -> None:
    nameless: dict[str, Any] = {"epoch": ..., "seq": ..., "eventAt": "2026-04-01T00:00:00Z"}
    cdc = {"connector": "shop", "table": "usage", "offset": 17}
    found = read(text(**nameless, cdc=cdc))
    assert found.items[1].identity == identity.cdc_position("pump-7", "shop", "usage", "17", 1)
    request = RequestKey("meters", "/v1/uplink/json", "k-1")
    keyed = decode("json", text(**nameless), request)
    assert isinstance(keyed, Decoded)
    assert keyed.items[0].identity == identity.http_key("pump-7", "meters", "/v1/uplink/json", "k-1")
    assert decode("json", text(), request) == read(text()), "a device's own name is stronger than a request's"
    sent = {"session": "pump-7", "message": 9}
    once = read(text(**nameless, broker=sent))
    assert once.method is IdentityMethod.BROKER_ID
    assert read(text(**nameless, broker=sent)).items == once.items
    assert read(text(**nameless, broker=sent | {"session": "later"})).items != once.items
    other = read(text(**nameless, broker=sent, items=[{"metric": "energy", "quantity": "2"}]))
    assert other.items[0].identity != once.items[0].identity, "a packet identifier is used again and again"
    assert read(text(**nameless)).method is IdentityMethod.CONTENT_HASH


@pytest.mark.parametrize("name", ["cdc", "broker"])
@pytest.mark.parametrize("value", ["x", [], {}, {"connector": "", "session": ""}, {"session": "a\u0000"}])
def test_a_half_name_is_refused(name: str, value: object) -> None:
    refusal = decode("json", text(epoch=..., seq=..., **{name: value}))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "unparseable"


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


@pytest.mark.parametrize("register", ["", "peak"])
@pytest.mark.parametrize("event_at", [None, "2026-03-31T23:59:59.5Z"])
def test_the_fingerprint_is_the_rules_own(event_at: str | None, register: str) -> None:
    """The parts that are kept between messages make the same bytes as all parts together."""
    item = {"metric": "energy", "quantity": "20.90"} | ({"register": register} if register else {})
    message = {"device": "m", "epoch": "1", "seq": 1, "items": [item]}
    found = decode("json", json.dumps(message | ({"eventAt": event_at} if event_at else {})).encode())
    assert isinstance(found, Decoded)
    content: list[tuple[str, Value]] = [
        ("register", register or None),
        ("quantity", Decimal("20.9")),
        ("metric", "energy"),
        ("eventAt", datetime.fromisoformat(event_at) if event_at else None),
    ]
    assert found.items[0].fingerprint == fingerprint(content)


def test_content_is_the_last_resort_and_needs_a_time() -> None:
    weak = read(text(epoch=..., seq=..., eventAt="2026-03-31T23:59:59.000001Z"))
    other = read(text(epoch=..., seq=..., eventAt="2026-03-31T23:59:59.000002Z"))
    assert weak.method is IdentityMethod.CONTENT_HASH
    assert weak.items[0].identity != other.items[0].identity
    refused = decode("json", text(epoch=..., seq=...))
    assert isinstance(refused, Refusal)
    assert "nothing names the event" in refused.detail


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
