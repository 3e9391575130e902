"""Identity: packed keys and ids are one to one with identities."""

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules import identity
from fleetmeter_rules.identity import (
    Identity,
    IdentityMethod,
    canonical,
    device_id_of,
    event_id,
    identity_of,
    packed_key,
    parse_canonical,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
short = st.sampled_from(["", "0", "1", "7", "00", "none", "addr:", "addr:00000007", "join:7", "a", "ab", "b"])
numbers = st.integers(0, 1 << 70) | st.sampled_from([0, 1, 7, (1 << 32) - 1, 1 << 32, (1 << 48) - 1, 1 << 48])
items = st.integers(0, 5000)
addresses = st.none() | st.integers(0, (1 << 32) - 1).map(lambda n: f"{n:08x}") | short


def identities(device: st.SearchStrategy[str]) -> st.SearchStrategy[Identity]:
    text = texts | short
    return st.one_of(
        st.builds(identity.lorawan, device, addresses, numbers, items),
        st.builds(identity.epoch_sequence, device, text | numbers.map(str), numbers, items),
        st.builds(identity.producer_id, device, text | numbers.map(str), text, items),
        st.builds(identity.http_key, device, text, text, text, items),
        st.builds(identity.sparkplug, device, text, numbers, numbers, numbers, text, items),
        st.builds(identity.cdc_position, device, text, text, text, items),
        st.builds(identity.content_hash, device, st.binary(max_size=8), items),
        st.builds(identity.broker_id, device, text, text, st.binary(max_size=8), items),
    )


@given(identities(texts), st.integers(0, (1 << 31) - 1))
def test_the_row_gives_the_identity_back(one: Identity, number: int) -> None:
    packed = packed_key(number, one)
    assert len(packed.key) == 16
    assert device_id_of(packed.key) == number
    back = identity_of(one.device, packed.key, packed.canonical)
    assert back == one
    assert event_id(back) == event_id(one)


@given(identities(st.just("d")), identities(st.just("d")))
def test_two_identities_of_a_device_have_two_keys(one: Identity, other: Identity) -> None:
    assert (packed_key(9, one).key == packed_key(9, other).key) == (one == other)
    assert (canonical(one) == canonical(other)) == (one == other)


@given(identities(short), identities(short))
def test_devices_never_share_bytes(one: Identity, other: Identity) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


@given(st.sampled_from(list(IdentityMethod)), texts, st.lists(texts, max_size=6), st.integers(0, 1 << 40))
def test_canonical_bytes_read_back(method: IdentityMethod, device: str, fields: list[str], item: int) -> None:
    one = Identity(method, device, tuple(fields), item)
    assert parse_canonical(canonical(one)) == one


@given(st.data())
def test_keys_sort_by_device_session_and_counter(data: st.DataObject) -> None:
    """The index stays local: within a device and session, a later frame is a later key."""
    address = data.draw(st.integers(0, (1 << 32) - 1).map(lambda n: f"{n:08x}"))
    low, high = sorted(
        data.draw(st.lists(st.integers(0, (1 << 32) - 1), min_size=2, max_size=2, unique=True))
    )
    first = packed_key(1, identity.lorawan("d", address, low, item=1)).key
    assert (
        first
        < packed_key(1, identity.lorawan("d", address, high)).key
        < packed_key(2, identity.lorawan("e", None, 0)).key
    )
