"""LoRaWAN adapters: ChirpStack 3 and 4 and Helium, and the real traces counted two ways."""

import base64
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fleetmeter_rules import identity
from fleetmeter_wire.decode import decode
from fleetmeter_wire.device_hint import device_of
from fleetmeter_wire.message import Decoded, NotBillable, Refusal

TRACES = Path(__file__).parents[3] / "examples" / "traces"
EUI = "a81758fffe04b1c1"
V3: dict[str, Any] = {
    "devEUI": EUI.upper(),
    "rxInfo": [{"rssi": -120}],
    "fCnt": 5,
    "fPort": 3,
    "data": "AQIDBA==",
}
V4: dict[str, Any] = {
    "deviceInfo": {"devEui": EUI, "tenantId": "t"},
    "deduplicationId": "random",
    "devAddr": "0700AB48",
    "rxInfo": [{}],
    "fCnt": 5,
    "fPort": 3,
    "data": "AQIDBA==",
}
HELIUM: dict[str, Any] = {
    "dev_eui": EUI.upper(),
    "devaddr": "07000048",
    "fcnt": 71,
    "port": 5,
    "payload_size": 23,
    "hotspots": [{"id": "a"}],
    "reported_at": 1672867882173,
    "type": None,
    "decoded": {"payload": {"temperature": 7.1, "humidity": 83}},
}


def found(adapter: str, message: dict[str, Any], **changes: Any) -> Decoded | NotBillable | Refusal:
    fields = {name: value for name, value in {**message, **changes}.items() if value is not ...}
    return decode(adapter, json.dumps(fields).encode())


def items(adapter: str, message: dict[str, Any], **changes: Any) -> Decoded:
    result = found(adapter, message, **changes)
    assert isinstance(result, Decoded), result
    return result


def test_chirpstack_3_knows_no_session() -> None:
    frame = items("chirpstack", V3)
    assert frame.device == EUI
    assert [i.identity for i in frame.items] == [identity.lorawan(EUI, None, 5, n) for n in (0, 1)]
    assert [(i.metric, int(i.quantity)) for i in frame.items] == [("messages", 1), ("payload_bytes", 4)]


def test_chirpstack_4_has_the_session_in_its_address() -> None:
    assert items("chirpstack", V4).items[0].identity == identity.lorawan(EUI, "0700ab48", 5)


def test_an_uplink_without_fcnt_has_counter_zero() -> None:
    assert items("chirpstack", V4, fCnt=...).items[0].identity == identity.lorawan(EUI, "0700ab48", 0)


@pytest.mark.parametrize(
    "event",
    [
        {"devEUI": EUI, "margin": -27, "batteryLevel": 0, "externalPowerSource": False},
        {"deviceInfo": {"devEui": EUI}, "devAddr": "0700ab48"},
        {"deviceInfo": {"devEui": EUI}, "level": "ERROR", "code": "UPLINK_CODEC"},
        {"deviceInfo": {"devEui": EUI}, "queueItemId": "q", "fCntDown": 7, "acknowledged": True},
    ],
)
def test_other_chirpstack_events_are_not_billable(event: dict[str, Any]) -> None:
    assert isinstance(found("chirpstack", event), NotBillable)


def test_payloads_in_base64_or_hexadecimal() -> None:
    raw = bytes(range(16))
    encoded = base64.b64encode(raw).decode()
    assert items("chirpstack", V3, data=raw.hex()).items == items("chirpstack", V3, data=encoded).items
    assert items("chirpstack", V3, data=...).items[1].quantity == 0


def test_reception_metadata_is_no_content() -> None:
    first = items("chirpstack", V4)
    copy = items(
        "chirpstack", V4, deduplicationId="other", rxInfo=[{"rssi": -1}, {}], time="2023-01-01T00:00:00Z"
    )
    assert first == copy
    assert items("helium", HELIUM) == items("helium", HELIUM, hotspots=[], reported_at=1, _timestamp=2)


@pytest.mark.parametrize("changes", [{"data": "AQIDBQ=="}, {"fPort": 4}, {"data": ""}])
def test_other_content_of_the_same_frame_is_another_fingerprint(changes: dict[str, Any]) -> None:
    first, other = items("chirpstack", V3).items[0], items("chirpstack", V3, **changes).items[0]
    assert first.identity == other.identity
    assert first.fingerprint != other.fingerprint


def test_helium_without_its_payload_compares_the_decoded_form() -> None:
    frame = items("helium", HELIUM)
    assert frame.items[0].identity == identity.lorawan(EUI, "07000048", 71)
    assert int(frame.items[1].quantity) == 23
    turned = {"payload": {"humidity": 83, "temperature": 7.1}}
    assert items("helium", HELIUM, decoded=turned) == frame
    other = {"payload": {"humidity": 83, "temperature": 7.2}}
    assert items("helium", HELIUM, decoded=other).items[0].fingerprint != frame.items[0].fingerprint
    with_payload = items("helium", HELIUM, payload="AQIDBA==")
    assert int(with_payload.items[1].quantity) == 4


@pytest.mark.parametrize(
    ("adapter", "message", "changes"),
    [
        ("chirpstack", V3, {"devEUI": ...}),
        ("chirpstack", V3, {"devEUI": "a81758fffe04b1c"}),
        ("chirpstack", V3, {"devEUI": 7}),
        ("chirpstack", V4, {"deviceInfo": {}}),
        ("chirpstack", V3, {"fCnt": -1}),
        ("chirpstack", V3, {"fCnt": 1 << 32}),
        ("chirpstack", V3, {"fCnt": "5"}),
        ("chirpstack", V3, {"fCnt": True}),
        ("chirpstack", V3, {"fCnt": 1.5}),
        ("chirpstack", V3, {"fPort": "x"}),
        ("chirpstack", V3, {"data": "***"}),
        ("chirpstack", V3, {"data": 7}),
        ("chirpstack", V4, {"devAddr": "xyz"}),
        ("chirpstack", V4, {"devAddr": ["0700ab48"]}),
        ("helium", HELIUM, {"fcnt": None}),
        ("helium", HELIUM, {"fcnt": ...}),
        ("helium", HELIUM, {"devaddr": "7"}),
        ("helium", HELIUM, {"payload": "***"}),
        ("helium", HELIUM, {"payload_size": -1}),
    ],
)
def test_frames_that_can_not_be_read(adapter: str, message: dict[str, Any], changes: dict[str, Any]) -> None:
    refused = found(adapter, message, **changes)
    assert isinstance(refused, Refusal)
    assert refused.reason == "unparseable"
    assert refused.detail.isprintable()


def test_other_helium_events_are_not_billable() -> None:
    assert isinstance(found("helium", HELIUM, type="join", fcnt=...), NotBillable)


def test_device_hints() -> None:
    assert device_of("chirpstack", json.dumps(V3).encode()) == EUI
    assert device_of("chirpstack", json.dumps(V4).encode()) == EUI
    assert device_of("helium", json.dumps(HELIUM).encode()) == EUI
    assert device_of("json", b'{"device": "Pump-7"}') == "Pump-7"
    assert device_of("json", b'{"specversion": "1.0", "subject": "s", "data": {"device": "d"}}') == "d"
    assert device_of("json", b'{"specversion": "1.0", "subject": "s", "data": 7}') == "s"
    for hopeless in (
        b"",
        b"[",
        b"[" * 100_000,
        b'{"device": 7}',
        b'{"device": "\xff"}',
        b'{"device": "\\ud800"}',
    ):
        assert device_of("json", hopeless) is None
    assert device_of("unknown", b"{}") is None


@pytest.mark.parametrize(
    ("adapter", "name", "months", "duplicates", "not_billable"),
    [
        (
            "helium",
            "helium-ems-04b1c1.ndjson.gz",
            {"2023-01": 739, "2023-03": 310, "2023-05": 1917, "2023-06": 1835, "2023-07": 1343},
            1966,
            0,
        ),
        (
            "chirpstack",
            "chirpstack-wyres-32.ndjson.gz",
            {"2023-06": 764, "2023-07": 2753, "2023-08": 2653, "2023-09": 3247},
            1,
            368,
        ),
    ],
)
def test_the_real_traces_count_as_a_few_independent_lines_do(
    adapter: str, name: str, months: dict[str, int], duplicates: int, not_billable: int
) -> None:
    lines = gzip.decompress((TRACES / name).read_bytes()).splitlines()
    ours: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    first: dict[identity.Identity, bytes] = {}
    frames: set[tuple[str, str, int]] = set()
    seen = Counter(duplicates=0, not_billable=0)
    for line in lines:
        record = json.loads(line)
        month = record["_date"][:7]
        counter = record.get("fCnt", record.get("fcnt"))
        frame = (record.get("devEUI") or record["dev_eui"], record.get("devaddr", ""), counter)
        if counter is not None and frame not in frames:
            frames.add(frame)
            plain[month] += 1
        message = decode(adapter, line)
        if isinstance(message, NotBillable):
            seen["not_billable"] += 1
            continue
        assert isinstance(message, Decoded)
        item = message.items[0]
        if item.identity in first:
            assert first[item.identity] == item.fingerprint
            seen["duplicates"] += 1
            continue
        first[item.identity] = item.fingerprint
        ours[month] += 1
    assert ours == plain == Counter(months)
    assert seen == Counter(duplicates=duplicates, not_billable=not_billable)
