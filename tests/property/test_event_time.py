"""Event time: what the device's facts can tell, they tell exactly; what they can't is flagged or refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fleetmeter_rules.event_time import (
    Ambiguous,
    ClassRules,
    DeviceTime,
    Resolved,
    TimeFallback,
    TimeMethod,
    resolve_event_time,
)

R = datetime(2026, 4, 2, 7, 30, 11, 123456, tzinfo=UTC)
RULES = ClassRules(max_offline=timedelta(days=30))
HOUR = timedelta(hours=1)

ages = st.timedeltas(timedelta(0), RULES.max_offline)
transits = st.timedeltas(timedelta(0), timedelta(seconds=2))
offsets = st.timedeltas(timedelta(days=-9000), timedelta(days=9000))
uptimes = st.timedeltas(timedelta(0), timedelta(days=3000))
instants = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  as asked
fallbacks: st.SearchStrategy[TimeFallback] = st.sampled_from(["Quarantine", "Received", "Hybrid"])
devices = st.builds(
    DeviceTime,
    event_at=st.none() | instants,
    sent_at=st.none() | instants,
    event_uptime=st.none() | uptimes,
    sent_uptime=st.none() | uptimes,
    event_boot=st.sampled_from([None, "1", "2"]),
    sent_boot=st.sampled_from([None, "1", "2"]),
    clock_stepped=st.booleans(),
    unreadable=st.booleans(),
)


@given(ages, transits, offsets, offsets, uptimes)
def test_uptimes_tell_the_time_whatever_the_clock_says(
    age: timedelta, transit: timedelta, at_event: timedelta, at_send: timedelta, up: timedelta
) -> None:
    true = R - transit - age
    found = resolve_event_time(
        DeviceTime(true + at_event, R - transit + at_send, up, up + age, "7", None, clock_stepped=True),
        R,
        RULES,
    )
    assert isinstance(found, Resolved)
    assert found.method is TimeMethod.UPTIME
    assert timedelta(0) <= found.at - true == transit <= found.uncertainty


@given(ages, transits, offsets)
def test_a_constant_error_of_the_clock_cancels_out(
    age: timedelta, transit: timedelta, error: timedelta
) -> None:
    true = R - transit - age
    found = resolve_event_time(DeviceTime(true + error, R - transit + error), R, RULES)
    assert isinstance(found, Resolved)
    assert found.method is TimeMethod.SENT_AT
    assert found.at - true == transit <= found.uncertainty
    assert found.offset == transit - error


@given(ages)
def test_a_right_clock_alone_is_taken_at_its_word_or_flagged(age: timedelta) -> None:
    found = resolve_event_time(DeviceTime(R - age), R, RULES)
    assert isinstance(found, Resolved)
    assert found.at == R - age or "counter_wrap" in found.flags
    assert abs(found.at - (R - age)) <= found.uncertainty


@given(devices, fallbacks)
def test_every_message_gets_a_time_or_a_refusal_with_candidates(
    device: DeviceTime, fallback: TimeFallback
) -> None:
    found = resolve_event_time(device, R, replace(RULES, fallback=fallback))
    if isinstance(found, Ambiguous):
        assert fallback == "Quarantine"
        assert R in found.candidates and found.detail
        return
    assert found.at <= R
    assert found.method is TimeMethod.UPTIME or found.at >= R - RULES.max_offline - RULES.tolerance
    assert found.uncertainty >= timedelta(0)
    if found.method is TimeMethod.RECEIVED:
        assert not device.says_something


@given(devices, fallbacks, st.timedeltas(-HOUR, HOUR))
def test_a_replay_decides_the_same(device: DeviceTime, fallback: TimeFallback, lag: timedelta) -> None:
    rules = replace(RULES, fallback=fallback)
    first = resolve_event_time(device, R, rules, R - lag)
    assert first == resolve_event_time(structs.replace(device), R, rules, R - lag)


@given(devices, st.timedeltas(timedelta(days=-400), timedelta(days=400)))
def test_moving_all_clocks_moves_the_answer(device: DeviceTime, by: timedelta) -> None:
    """Uptime and sent-at pairs know no calendar: no date is special to them."""
    first = resolve_event_time(device, R, RULES)
    if not isinstance(first, Resolved) or first.method not in (TimeMethod.UPTIME, TimeMethod.SENT_AT):
        return
    moved = structs.replace(
        device,
        event_at=None if device.event_at is None else device.event_at + by,
        sent_at=None if device.sent_at is None else device.sent_at + by,
    )
    second = resolve_event_time(moved, R + by, RULES)
    assert isinstance(second, Resolved)
    assert (second.at, second.method) == (first.at + by, first.method)


@given(ages, st.timedeltas(timedelta(seconds=1), timedelta(minutes=10)))
def test_hybrid_is_the_articles_rule(age: timedelta, tolerance: timedelta) -> None:
    rules = ClassRules("Hybrid", tolerance, RULES.max_offline)
    found = resolve_event_time(DeviceTime(R - age), R, rules)
    assert isinstance(found, Resolved)
    assert found.at == (R - age if age <= tolerance else R)
    assert "hybrid" in found.flags
