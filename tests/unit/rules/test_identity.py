"""Identity: canonical bytes, ids and packed keys by example."""

import hashlib

import pytest

from fleetmeter_rules import identity
from fleetmeter_rules.identity import IdentityMethod, canonical, event_id, identity_of, packed_key


def test_canonical_bytes_are_versioned_and_length_prefixed() -> None:
    frame = identity.lorawan("a81758fffe04b1c1", "07000048", 71)
    expected = b"fm1"
    for part in (b"Lorawan", b"a81758fffe04b1c1", b"addr:07000048", b"71", b"0"):
        expected += len(part).to_bytes(4, "big") + part
    assert canonical(frame) == expected
    assert event_id(frame) == "sha256:" + hashlib.sha256(expected).hexdigest()


def test_layout_of_the_packed_key() -> None:
    frame = identity.lorawan("a81758fffe04b1c1", "07000048", 71, item=1)
    assert packed_key(5, frame).key.hex() == "00000005070000480000000000471001"
    assert packed_key(5, frame).canonical is None


def test_the_same_frame_counter_in_another_session_is_another_event() -> None:
    first = identity.lorawan("a81758fffe04b1c1", "07000048", 71)
    second = identity.lorawan("a81758fffe04b1c1", "00000048", 71)
    assert packed_key(5, first) != packed_key(5, second)


def test_an_unknown_session_is_not_the_session_zero() -> None:
    unknown = identity.lorawan("a81758fffe04b1c1", None, 71)
    zero = identity.lorawan("a81758fffe04b1c1", "00000000", 71)
    named = identity.lorawan("a81758fffe04b1c1", "none", 71)
    assert len({packed_key(5, i).key for i in (unknown, zero, named)}) == 3
    assert len({event_id(i) for i in (unknown, zero, named)}) == 3


def test_the_case_of_a_device_address_makes_no_difference() -> None:
    assert identity.lorawan("d", "0700AB48", 1) == identity.lorawan("d", "0700ab48", 1)


def test_methods_never_meet_inside_a_device() -> None:
    same = [
        identity.lorawan("d", "00000007", 9),
        identity.epoch_sequence("d", "7", 9),
        identity.producer_id("d", str((7 << 48) | 9)),
        identity.producer_id("d", "9"),
        identity.http_key("d", "7", "9", ""),
    ]
    assert len({packed_key(1, i).key for i in same}) == len(same)


@pytest.mark.parametrize(
    "stranger",
    [
        identity.epoch_sequence("d", "007", 9),
        identity.epoch_sequence("d", "5f3a", 9),
        identity.epoch_sequence("d", str(1 << 32), 9),
        identity.epoch_sequence("d", "1", 1 << 48),
        identity.epoch_sequence("d", "1", 9, item=4096),
        identity.producer_id("d", "9", source="/gateway"),
        identity.producer_id("d", "0b5e4f0e-5f0a-4a6e-9d9e-1d1d1d1d1d1d"),
        identity.content_hash("d", b"content"),
        identity.broker_id("d", "session-1", "7", b"payload"),
        identity.sparkplug("d", "g/e/d", 3, 1672867882173, 7, "m"),
        identity.cdc_position("d", "pg", "usage", "0/16B3748"),
    ],
)
def test_what_does_not_fit_is_hashed_and_kept_beside_the_key(stranger: identity.Identity) -> None:
    packed = packed_key(3, stranger)
    assert packed.key[:4] == bytes.fromhex("80000003")
    assert packed.key[4:] == hashlib.sha256(canonical(stranger)).digest()[:12]
    assert packed.canonical == canonical(stranger)
    assert identity_of("d", packed.key, packed.canonical) == stranger
    assert identity.device_id_of(packed.key) == 3


def test_what_the_module_never_made_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        packed_key(1 << 31, identity.producer_id("d", "1"))
    with pytest.raises(ValueError, match="unknown layout"):
        identity_of("d", bytes(14) + b"\xf0\x00")
    with pytest.raises(ValueError, match="canonical identity stored"):
        identity_of("d", b"\x80" + bytes(15))
    for broken in (b"", b"fm2", b"fm1\x00\x00\x00\xff", b"fm1" + bytes(4)):
        with pytest.raises(ValueError, match=r"canonical|IdentityMethod"):
            identity.parse_canonical(broken)


def test_a_lone_surrogate_has_no_canonical_bytes() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        canonical(identity.producer_id("d", "\ud800"))


def test_the_stored_names_of_the_methods_stay() -> None:
    assert [m.value for m in IdentityMethod] == [
        "ProducerId",
        "EpochSequence",
        "Lorawan",
        "Sparkplug",
        "HttpKey",
        "CdcPosition",
        "ContentHash",
        "BrokerId",
    ]
