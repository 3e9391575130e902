"""Event time: every step of the order, and each known fault, by example."""

from datetime import UTC, datetime, timedelta

import pytest

from fleetmeter_rules.event_time import (
    GATEWAY_LAG,
    Ambiguous,
    ClassRules,
    DeviceTime,
    Quality,
    Resolved,
    TimeMethod,
    resolve_event_time,
)

R = datetime(2026, 4, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = ClassRules()


def resolved(
    device: DeviceTime | None, rules: ClassRules = RULES, gateway_at: datetime | None = None
) -> Resolved:
    found = resolve_event_time(device, R, rules, gateway_at)
    assert isinstance(found, Resolved)
    return found


@pytest.mark.parametrize("device", [None, DeviceTime(), DeviceTime(sent_at=R)])
def test_without_a_time_of_the_event_it_is_r(device: DeviceTime | None) -> None:
    assert resolved(device) == Resolved(R, timedelta(0), TimeMethod.RECEIVED, Quality.RECEIVED)


def test_the_uptime_pair_comes_first_and_needs_no_wall_clock() -> None:
    device = DeviceTime(
        event_at=datetime(1970, 1, 1, tzinfo=UTC),
        sent_at=R + 999 * HOUR,
        event_uptime=HOUR,
        sent_uptime=31 * HOUR,
        event_boot="7",
    )
    found = resolved(device)
    assert (found.at, found.method, found.quality) == (R - 30 * HOUR, TimeMethod.UPTIME, Quality.TRUSTED)
    assert timedelta(0) < found.uncertainty < timedelta(minutes=1)


@pytest.mark.parametrize(
    "change",
    [
        {"sent_boot": "8"},
        {"event_boot": None},
        {"sent_uptime": timedelta(minutes=59)},
        {"sent_uptime": None},
    ],
)
def test_uptimes_of_two_boots_or_without_sense_are_no_pair(change: dict[str, object]) -> None:
    facts: dict[str, object] = {
        "event_at": R - HOUR,
        "sent_at": R,
        "event_uptime": HOUR,
        "sent_uptime": 2 * HOUR,
    }
    device = DeviceTime(**{**facts, "event_boot": "7", **change})  # pyright: ignore[reportArgumentType]  fields
    assert resolved(device).method is TimeMethod.SENT_AT


def test_uptimes_of_one_boot_tell_any_age() -> None:
    device = DeviceTime(event_uptime=HOUR, sent_uptime=HOUR + 3 * RULES.max_offline, event_boot="7")
    assert resolved(device).at == R - 3 * RULES.max_offline


@pytest.mark.parametrize(
    "error", [timedelta(0), 5 * HOUR, -8 * HOUR, timedelta(days=-7168), timedelta(days=900)]
)
def test_sent_at_cancels_a_clock_that_is_wrong_by_a_constant(error: timedelta) -> None:
    found = resolved(DeviceTime(event_at=R - 48 * HOUR + error, sent_at=R + error))
    assert (found.at, found.method, found.offset) == (R - 48 * HOUR, TimeMethod.SENT_AT, -error)


def test_a_long_way_and_a_late_clock_look_the_same_and_both_stay_in() -> None:
    queued = resolved(DeviceTime(event_at=R - 50 * HOUR, sent_at=R - 48 * HOUR))
    assert queued.at == R - 2 * HOUR
    assert queued.uncertainty > 48 * HOUR
    assert queued.straddles(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    credible_no_more = resolved(DeviceTime(event_at=R - 9000 * HOUR, sent_at=R - 8998 * HOUR))
    assert credible_no_more.uncertainty < timedelta(minutes=1)
    fast = resolved(DeviceTime(event_at=R + 48 * HOUR, sent_at=R + 50 * HOUR))
    assert fast.uncertainty < timedelta(minutes=1)


def test_a_clock_that_was_set_between_event_and_sending_is_no_pair() -> None:
    stepped = DeviceTime(event_at=R - 3 * HOUR, sent_at=R, clock_stepped=True)
    assert isinstance(resolve_event_time(stepped, R, RULES), Ambiguous)
    backwards = DeviceTime(event_at=R + 240 * HOUR, sent_at=R)
    assert isinstance(resolve_event_time(backwards, R, RULES), Ambiguous)


def test_the_gateways_clock_measures_the_devices_where_it_can() -> None:
    device = DeviceTime(event_at=R - 2 * HOUR, sent_at=R - HOUR)
    assert resolved(device, gateway_at=R - timedelta(minutes=2)).at == R - HOUR - timedelta(minutes=2)
    assert resolved(device, gateway_at=R + HOUR).at == R - HOUR
    assert resolved(device, gateway_at=R - GATEWAY_LAG - timedelta(seconds=1)).at == R - HOUR


def test_a_gps_rollover_is_put_right() -> None:
    found = resolved(DeviceTime(event_at=R - HOUR - timedelta(weeks=1024)))
    assert (found.at, found.method, found.flags) == (R - HOUR, TimeMethod.FAULT, ("gps_rollover",))


def test_seconds_read_as_milliseconds_are_put_right() -> None:
    true = R - HOUR
    wrong = datetime.fromtimestamp(true.timestamp() / 1000, UTC)
    found = resolved(DeviceTime(event_at=wrong))
    assert (found.at, found.flags) == (true, ("seconds_for_milliseconds",))


def test_a_wrapped_microsecond_counter_is_put_right() -> None:
    found = resolved(DeviceTime(event_at=R - timedelta(seconds=4295.2)))
    assert found.flags == ("counter_wrap",)
    assert abs(R - found.at) < timedelta(seconds=1)
    assert found.uncertainty > timedelta(seconds=4294)


def test_local_time_ahead_of_us_is_flagged_with_its_uncertainty() -> None:
    found = resolved(DeviceTime(event_at=R + timedelta(hours=5, minutes=45) - timedelta(seconds=20)))
    assert (found.at, found.flags) == (R - timedelta(seconds=20), ("local_time",))
    assert found.straddles(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))


def test_the_window_takes_what_nothing_contradicts() -> None:
    inside = resolved(DeviceTime(event_at=R - RULES.max_offline))
    assert (inside.at, inside.method, inside.quality) == (
        R - RULES.max_offline,
        TimeMethod.DEVICE,
        Quality.UNVERIFIED,
    )
    ahead = resolved(DeviceTime(event_at=R + RULES.future_tolerance))
    assert ahead.at == R


@pytest.mark.parametrize(
    "device",
    [
        DeviceTime(event_at=datetime(1970, 1, 1, tzinfo=UTC)),
        DeviceTime(event_at=datetime(1980, 1, 6, tzinfo=UTC)),
        DeviceTime(event_at=datetime(2000, 1, 1, tzinfo=UTC)),
        DeviceTime(event_at=R - RULES.max_offline - timedelta(seconds=1)),
        DeviceTime(event_at=R + timedelta(days=30)),
        DeviceTime(event_at=datetime(2199, 12, 31, tzinfo=UTC)),
        DeviceTime(unreadable=True),
        DeviceTime(event_uptime=HOUR),
    ],
)
def test_what_nothing_explains_goes_by_the_class(device: DeviceTime) -> None:
    refused = resolve_event_time(device, R, RULES)
    assert isinstance(refused, Ambiguous)
    assert refused.reason == "time_ambiguous"
    assert refused.candidates[-1] == R
    taken = resolved(device, ClassRules("Received"))
    assert (taken.at, taken.method, taken.flags) == (R, TimeMethod.FALLBACK_RECEIVED, ("fallback",))
    mixed = resolved(device, ClassRules("Hybrid"))
    assert (mixed.at, mixed.method) == (R, TimeMethod.HYBRID)


def test_the_articles_hybrid_bills_a_backlog_when_it_arrives() -> None:
    hybrid = ClassRules("Hybrid")
    edge = timedelta(seconds=300)
    assert resolved(DeviceTime(event_at=R - edge), hybrid).at == R - edge
    late = resolved(DeviceTime(event_at=R - edge - timedelta(seconds=1)), hybrid)
    assert (late.at, late.flags) == (R, ("hybrid",))
    assert late.straddles(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))


def test_straddling_is_half_open() -> None:
    start, end = R, R + HOUR
    minute = timedelta(minutes=1)

    def candidate(at: datetime) -> bool:
        return Resolved(at, minute, TimeMethod.DEVICE, Quality.UNVERIFIED).straddles(start, end)

    assert not candidate(start + minute)
    assert candidate(start + minute - timedelta(microseconds=1))
    assert candidate(end - minute)
    assert not candidate(end - minute - timedelta(microseconds=1))


def test_the_stored_numbers_of_the_methods_stay() -> None:
    assert {m.name: m.value for m in TimeMethod} == {
        "RECEIVED": 0,
        "UPTIME": 1,
        "SENT_AT": 2,
        "FAULT": 3,
        "DEVICE": 4,
        "FALLBACK_RECEIVED": 5,
        "HYBRID": 6,
    }
