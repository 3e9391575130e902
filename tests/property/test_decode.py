"""Decode: whatever the bytes are, one of three results comes out, and a good one can be stored."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.device import MAX_UID
from fleetmeter_rules.identity import identity_of, packed_key
from fleetmeter_rules.number import quantity
from fleetmeter_wire.decode import ADAPTERS, decode
from fleetmeter_wire.device_hint import device_of
from fleetmeter_wire.message import Decoded, NotBillable, Refusal
from fleetmeter_wire.strict_json import loads

adapters = st.sampled_from(sorted(ADAPTERS))
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "1",
            "NaN",
            "1e400",
            "a81758fffe04b1c1",
            "07000048",
            "AQIDBA==",
            "2026-03-31T23:59:60Z",
            "\ud800",
            "\x00",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
item_fields: dict[str, st.SearchStrategy[Any]] = {
    "metric": st.just("energy") | values,
    "quantity": values,
    "register": values,
}
items = st.lists(st.fixed_dictionaries({}, optional=item_fields), max_size=3)
NAMES = [
    *(
        "device",
        "epoch",
        "seq",
        "id",
        "source",
        "eventAt",
        "sentAt",
        "uptime",
        "sentUptime",
        "boot",
        "sentBoot",
    ),
    *(
        "clockStepped",
        "historical",
        "data",
        "subject",
        "time",
        "devEUI",
        "devAddr",
        "fCnt",
        "fPort",
        "rxInfo",
    ),
    *("deviceInfo", "dev_eui", "devaddr", "fcnt", "port", "payload", "payload_size", "decoded", "type"),
]
fields: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(NAMES, values),
    "items": items | values,
    "specversion": st.just("1.0") | values,
}
messages = st.fixed_dictionaries({}, optional=fields)


def check(adapter: str, raw: bytes) -> None:
    found = decode(adapter, raw)
    hint = device_of(adapter, raw)
    if isinstance(found, Decoded):
        assert hint == found.device
        assert 0 < len(found.device) <= MAX_UID
        for index, item in enumerate(found.items):
            assert item.identity.item == index
            assert quantity(str(item.quantity)) == item.quantity
            packed = packed_key(1, item.identity)
            assert identity_of(found.device, packed.key, packed.canonical) == item.identity
            assert "\x00" not in item.metric + item.register + found.device + "".join(item.identity.fields)
        assert decode(adapter, raw) == found
        return
    assert isinstance(found, (NotBillable, Refusal))
    assert found.detail.isprintable()
    found.detail.encode()


@given(adapters, st.binary(max_size=60))
def test_any_bytes(adapter: str, raw: bytes) -> None:
    check(adapter, raw)


@given(adapters, messages)
def test_any_json(adapter: str, message: dict[str, Any]) -> None:
    check(adapter, json.dumps(message).encode())


@given(adapters, messages, st.binary(min_size=1, max_size=3), st.integers(0, 200))
def test_damaged_json(adapter: str, message: dict[str, Any], noise: bytes, at: int) -> None:
    raw = json.dumps(message).encode()
    check(adapter, raw[:at] + noise + raw[at + len(noise) :])


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**15), 10**15)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_good_json_reads_as_anybody_reads_it(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value
