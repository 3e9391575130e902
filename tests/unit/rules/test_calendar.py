"""Calendar: edges that a clock change, a short month or a lost day moves."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from fleetmeter_rules.calendar import (
    Bounds,
    Calendar,
    billing_period_of,
    billing_periods,
    contract_period,
    cut_off,
    day_start,
    period_name,
)

MICROSECOND = timedelta(microseconds=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # pyright: ignore[reportArgumentType]  the parts are a date's


@pytest.mark.parametrize(
    ("zone", "inside", "hours"),
    [
        ("Europe/Berlin", utc(2026, 3, 15), 743),
        ("America/New_York", utc(2026, 3, 15), 743),
        ("America/Los_Angeles", utc(2026, 3, 15), 743),
        ("Europe/Berlin", utc(2026, 10, 15), 745),
        ("America/New_York", utc(2026, 11, 15), 721),
        ("Australia/Lord_Howe", utc(2026, 4, 15), 720.5),
        ("Pacific/Apia", utc(2011, 12, 15), 30 * 24),
        ("UTC", utc(2026, 3, 15), 744),
    ],
)
def test_months_have_the_hours_that_the_zone_gives_them(zone: str, inside: datetime, hours: float) -> None:
    period = contract_period(inside, Calendar(zone))
    assert (period.end - period.start) / timedelta(hours=1) == hours


def test_the_edge_belongs_to_the_later_period() -> None:
    calendar = Calendar("Europe/Berlin")
    edge = utc(2026, 3, 31, 22)
    assert contract_period(edge, calendar).first_day == date(2026, 4, 1)
    assert contract_period(edge - MICROSECOND, calendar).first_day == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("anchor", "starts"),
    [
        (29, ["2023-01-29", "2023-02-28", "2023-03-29", "2024-01-29", "2024-02-29"]),
        (30, ["2023-01-30", "2023-02-28", "2023-03-30", "2024-01-30", "2024-02-29"]),
        (31, ["2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2024-02-29"]),
        (1, ["2023-01-01", "2023-02-01", "2023-12-01", "2024-01-01"]),
    ],
)
def test_anchors_are_clamped_to_the_end_of_the_month(anchor: int, starts: list[str]) -> None:
    calendar = Calendar("UTC", "Month", anchor)
    for text in starts:
        day = date.fromisoformat(text)
        assert contract_period(day_start(day, "UTC"), calendar).first_day == day
        assert contract_period(day_start(day, "UTC") - MICROSECOND, calendar).end == day_start(day, "UTC")


def test_the_day_that_apia_lost_makes_no_period() -> None:
    calendar = Calendar("Pacific/Apia", "Day")
    days = [b.first_day for b in billing_periods(calendar, date(2011, 12, 28), None, utc(2012, 1, 1))]
    assert date(2011, 12, 29) in days
    assert date(2011, 12, 30) not in days
    assert day_start(date(2011, 12, 30), "Pacific/Apia") == day_start(date(2011, 12, 31), "Pacific/Apia")


def test_midnights_that_do_not_exist_start_with_the_jump() -> None:
    # Beirut jumps from 00:00 to 01:00; Toronto in 1919 jumped at 23:30 to 00:30.
    assert day_start(date(2022, 3, 27), "Asia/Beirut") == utc(2022, 3, 26, 22)
    assert day_start(date(1919, 3, 31), "America/Toronto") == utc(1919, 3, 31, 4, 30)


def test_midnight_that_comes_twice_counts_the_first_time() -> None:
    assert day_start(date(2022, 11, 6), "America/Havana") == utc(2022, 11, 6, 4)


def test_weeks_start_on_the_anchored_weekday() -> None:
    week = contract_period(utc(2023, 1, 5), Calendar("UTC", "Week", 3))
    assert (week.first_day, week.end) == (date(2023, 1, 4), utc(2023, 1, 11))


def test_names() -> None:
    month = contract_period(utc(2023, 1, 5), Calendar("Europe/Paris"))
    assert period_name("eu", month, "Month") == "eu-202301"
    week = contract_period(utc(2023, 1, 5), Calendar("UTC", "Week", 3))
    assert period_name("eu", week, "Week") == "eu-20230104"
    day = contract_period(utc(2023, 1, 5), Calendar("UTC", "Day"))
    assert period_name("eu", day, "Day") == "eu-20230105"


def test_no_billing_period_is_skipped_and_the_last_one_is_kept() -> None:
    calendar = Calendar("UTC")
    found = billing_periods(calendar, date(2023, 1, 1), date(2023, 9, 1), utc(2026, 1, 1))
    assert [period_name("eu", b, "Month")[-2:] for b in found] == [f"{m:02}" for m in range(1, 10)]
    assert all(a.end == b.start for a, b in pairwise(found))
    assert billing_periods(calendar, date(2023, 1, 1), None, utc(2022, 12, 31)) == []
    assert len(billing_periods(calendar, date(2023, 1, 1), None, utc(2023, 2, 1))) == 2


def test_a_contract_ahead_of_the_regions_zone_is_in_the_first_period() -> None:
    region, first = Calendar("UTC"), date(2023, 1, 1)
    tokyo = contract_period(utc(2023, 1, 10), Calendar("Asia/Tokyo"))
    assert tokyo.start == utc(2022, 12, 31, 15)
    assert billing_period_of(tokyo.start, region, first).first_day == first
    assert billing_period_of(utc(2023, 3, 15), region, first).first_day == date(2023, 3, 1)
    assert billing_period_of(utc(2023, 10, 15), region, first, date(2023, 9, 1)).first_day == date(2023, 9, 1)


def test_march_with_72_hours_is_final_on_4_april_in_the_contracts_zone() -> None:
    march = contract_period(utc(2026, 3, 15), Calendar("Europe/Berlin"))
    assert cut_off(march, timedelta(hours=72)) == day_start(date(2026, 4, 4), "Europe/Berlin")
    assert cut_off(march, timedelta(0)) == march.end


def test_what_is_no_calendar_is_refused() -> None:
    for wrong in (
        lambda: Calendar("Mars/Base"),
        lambda: Calendar("UTC", "Week", 8),
        lambda: Calendar("UTC", "Month", 0),
    ):
        with pytest.raises(ValueError, match=r"zone|anchor"):
            wrong()
    with pytest.raises(ValueError, match="no time zone"):
        contract_period(datetime(2026, 1, 1), Calendar())  # noqa: DTZ001  the missing zone is the point
    with pytest.raises(ValueError, match="negative"):
        cut_off(Bounds(utc(2026, 1, 1), utc(2026, 2, 1), date(2026, 1, 1)), timedelta(-1))
