"""Clock faults: each known one is put right wherever it strikes, or at least recognised."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fleetmeter_rules.clock_faults import (
    COUNTER_WRAP,
    GPS_ROLLOVER,
    MOST_OFFSET,
    QUARTER_HOUR,
    UNSET_CLOCKS,
    never_set,
)
from fleetmeter_rules.event_time import (
    Ambiguous,
    ClassRules,
    DeviceTime,
    Quality,
    Resolved,
    TimeMethod,
    resolve_event_time,
)
from fleetmeter_wire.timestamp import timestamp

RULES = ClassRules(max_offline=timedelta(days=7))
EPOCH = UNSET_CLOCKS[0]
receipts = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001  Hypothesis takes the zone apart from it
    datetime(2036, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
ages = st.timedeltas(timedelta(0), RULES.max_offline)
boots = st.sampled_from(["1", "2"])


def resolved(device: DeviceTime, received_at: datetime) -> Resolved:
    found = resolve_event_time(device, received_at, RULES)
    assert isinstance(found, Resolved), found
    return found


@given(receipts, ages)
def test_a_gps_rollover_is_put_right(received_at: datetime, age: timedelta) -> None:
    found = resolved(DeviceTime(received_at - age - GPS_ROLLOVER), received_at)
    assert (found.at, found.method, found.flags) == (received_at - age, TimeMethod.FAULT, ("gps_rollover",))
    assert found.offset == GPS_ROLLOVER


@given(receipts, ages)
def test_seconds_for_milliseconds_are_put_right(received_at: datetime, age: timedelta) -> None:
    """Told by a number whose unit was taken for the smaller one, and so to a thousandth of a second."""
    true = received_at - age
    seconds = (true - EPOCH) // timedelta(seconds=1)
    found = resolved(DeviceTime(EPOCH + timedelta(milliseconds=seconds)), received_at)
    assert found.flags == ("seconds_for_milliseconds",)
    assert abs(found.at - true) <= min(found.uncertainty, timedelta(seconds=1))


@given(receipts, st.timedeltas(timedelta(0), timedelta(seconds=4)), st.sampled_from([-1, 1]))
def test_a_wrap_of_32_bits_of_microseconds_is_put_right(
    received_at: datetime, lag: timedelta, way: int
) -> None:
    true = received_at - lag
    found = resolved(DeviceTime(true + way * COUNTER_WRAP), received_at)
    if way < 0:
        assert found.flags == ("counter_wrap",)
        assert found.at == true
    # Ahead of R a wrap looks like local time as well; both are within the uncertainty.
    assert abs(found.at - true) <= found.uncertainty


@given(receipts, st.integers(1, MOST_OFFSET // QUARTER_HOUR), ages)
def test_local_time_ahead_of_us_is_put_right_by_quarters_of_an_hour(
    received_at: datetime, quarters: int, age: timedelta
) -> None:
    """India, Nepal, Lord Howe, Chatham: each offset is a number of quarters. A fresh event is put right to
    the second; of an old one the true time stays within the uncertainty."""
    local = received_at - age + quarters * QUARTER_HOUR
    if local <= received_at + RULES.future_tolerance:
        return
    found = resolved(DeviceTime(local), received_at)
    if "counter_wrap" in found.flags:
        return
    assert found.flags == ("local_time",)
    assert (local - found.at) % QUARTER_HOUR == timedelta(0) or found.at == received_at
    assert abs(found.at - (received_at - age)) <= found.uncertainty


@given(receipts, st.integers(1, MOST_OFFSET // QUARTER_HOUR), ages)
def test_local_time_behind_us_is_taken_for_an_old_event_unless_the_message_says_when_it_was_sent(
    received_at: datetime, quarters: int, age: timedelta
) -> None:
    """Which is why billable devices should say it: then any offset cancels out."""
    wrong = -quarters * QUARTER_HOUR
    found = resolved(DeviceTime(received_at - age + wrong, received_at + wrong), received_at)
    assert (found.at, found.method) == (received_at - age, TimeMethod.SENT_AT)


@pytest.mark.parametrize("begin", UNSET_CLOCKS)
@given(receipts, st.timedeltas(timedelta(0), timedelta(days=365)))
def test_a_clock_of_1970_1980_or_2000_is_no_time(
    begin: datetime, received_at: datetime, up: timedelta
) -> None:
    """A clock that nobody has set tells nothing by itself: not even that the event is old."""
    assert never_set(begin + up, received_at)
    assert not never_set(received_at - up, received_at)
    found = resolve_event_time(DeviceTime(begin + up), received_at, RULES)
    if isinstance(found, Resolved):
        # Ten to fifty days after 1970 began the same reading may be seconds taken for milliseconds.
        assert found.flags == ("seconds_for_milliseconds",)
    else:
        assert found.reason == "time_ambiguous"


@pytest.mark.parametrize("begin", UNSET_CLOCKS)
@given(
    receipts,
    st.timedeltas(timedelta(0), timedelta(days=2)),
    st.timedeltas(timedelta(0), timedelta(days=2)),
    st.timedeltas(timedelta(0), timedelta(days=2)),
)
def test_a_reboot_of_a_clock_that_was_never_set_is_never_overlooked(
    begin: datetime, received_at: datetime, at_event: timedelta, off: timedelta, since_boot: timedelta
) -> None:
    """Event in one boot, sending in the next: the difference of the readings is not the age."""
    true = received_at - since_boot - off
    device = DeviceTime(begin + at_event, begin + since_boot)
    if at_event > since_boot:
        return
    found = resolved(device, received_at)
    assert "clock_unset" in found.flags
    assert found.quality is Quality.UNVERIFIED
    assert abs(found.at - true) <= found.uncertainty
    told = structs.replace(device, event_boot="1", sent_boot="2")
    refused = resolve_event_time(told, received_at, RULES)
    assert isinstance(refused, Ambiguous) or "seconds_for_milliseconds" in refused.flags


@pytest.mark.parametrize("begin", UNSET_CLOCKS)
@given(receipts, st.timedeltas(timedelta(0), timedelta(days=6)), ages, boots)
def test_within_one_boot_a_clock_that_was_never_set_is_as_good_as_any(
    begin: datetime, received_at: datetime, up: timedelta, age: timedelta, boot: str
) -> None:
    device = DeviceTime(begin + up, begin + up + age, event_boot=boot, sent_boot=boot)
    found = resolved(device, received_at)
    assert (found.at, found.quality, found.flags) == (received_at - age, Quality.CORRECTED, ())


@given(receipts, st.integers(-14 * 60, 14 * 60))
def test_second_60_is_the_next_second_and_flagged(received_at: datetime, offset: int) -> None:
    """A leap second is no reason to lose an event: in any zone it is the instant that follows second 59."""
    minute = received_at.replace(second=0, microsecond=0)
    local = (minute + timedelta(minutes=offset)).replace(tzinfo=None)
    sign, away = "-" if offset < 0 else "+", abs(offset)
    zone = f"{sign}{away // 60:02d}:{away % 60:02d}"
    text = f"{local.isoformat()[:-2]}60{zone}"
    found = timestamp(text)
    assert (found.instant, found.flags) == (minute + timedelta(minutes=1), ("second_60",))
