"""Timestamp: the quick reading of the common spellings never differs from the careful one."""

from datetime import UTC, datetime
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.instant import EPOCH
from fleetmeter_wire import timestamp

LAST = datetime.fromisoformat("2199-12-31T23:59:59")
odd = st.text("0123456789-:.TtZzW +٣é", min_size=1, max_size=1)
common = st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z")
parts = st.tuples(
    st.integers(0, 9999),
    st.integers(0, 13),
    st.integers(0, 32),
    st.integers(0, 25),
    st.integers(0, 60),
    st.integers(0, 61),
)
written = st.tuples(
    parts, st.sampled_from(["", ".1", ".123", ".123456", ".123456789"]), st.sampled_from("ZzT+")
).map(lambda it: "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*it[0]) + it[1] + it[2])


def careful(text: str) -> timestamp.Timestamp:
    """The reading without the shortcut."""
    with patch.object(timestamp, "_common", lambda _: None):
        return timestamp.timestamp(text)


@given(common | written)
def test_a_date_and_time(text: str) -> None:
    assert timestamp.timestamp(text) == careful(text)


@given(common | written, st.integers(0, 30), odd)
def test_one_character_is_another(text: str, at: int, other: str) -> None:
    changed = text[:at] + other + text[at + 1 :]
    assert timestamp.timestamp(changed) == careful(changed)


@given(st.datetimes(EPOCH.replace(tzinfo=None), LAST))
def test_every_instant_comes_back(at: datetime) -> None:
    """To the microsecond and to the millisecond."""
    assert timestamp.timestamp(at.isoformat(timespec="microseconds") + "Z").instant == at.replace(tzinfo=UTC)
    found = timestamp.timestamp(at.isoformat(timespec="milliseconds") + "Z").instant
    assert found == at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
