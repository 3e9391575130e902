"""Calendar: each instant of 2020-2030 is in exactly one period, by an oracle that only counts local dates."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.calendar import Interval
from fleetmeter_api.contract import Contract
from fleetmeter_rules.calendar import (
    Bounds,
    Calendar,
    billing_period_of,
    billing_periods,
    contract_period,
    day_start,
    period_name,
)
from fleetmeter_rules.contracts import Defaults, terms_of

ZONES = [
    "UTC",
    "Europe/Paris",
    "Europe/Berlin",
    "America/New_York",
    "America/Los_Angeles",
    "America/Havana",
    "America/Asuncion",
    "America/St_Johns",
    "America/Nuuk",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
]
SINCE, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

intervals: st.SearchStrategy[Interval] = st.sampled_from(["Month", "Week", "Day"])
calendars = st.one_of(
    st.builds(Calendar, st.sampled_from(ZONES), st.just("Month"), st.integers(1, 31)),
    st.builds(Calendar, st.sampled_from(ZONES), st.just("Week"), st.integers(1, 7)),
    st.builds(Calendar, st.sampled_from(ZONES), st.just("Day")),
)
instants = st.datetimes(
    SINCE.replace(tzinfo=None), UNTIL.replace(tzinfo=None) - MICROSECOND, timezones=st.just(UTC)
)


def starts_on(calendar: Calendar, day: date) -> bool:
    if calendar.interval == "Month":
        return day.day == min(calendar.anchor_day, monthrange(day.year, day.month)[1])
    return calendar.interval == "Day" or day.isoweekday() == calendar.anchor_day


@lru_cache(maxsize=100_000)
def first_instant(day: date, zone: str) -> datetime:
    """The oracle: the first quarter of an hour, in UTC, whose local date is the day or a later one."""
    tz = ZoneInfo(zone)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while at.astimezone(tz).date() < day:
        at += timedelta(minutes=15)
    return at


@given(calendars, instants)
def test_an_instant_is_in_the_period_that_its_local_date_says(calendar: Calendar, instant: datetime) -> None:
    period = contract_period(instant, calendar)
    day = instant.astimezone(ZoneInfo(calendar.zone)).date()
    if instant < first_instant(day, calendar.zone):
        return
    while not starts_on(calendar, day):
        day -= timedelta(days=1)
    assert instant in period
    assert period.first_day == day
    assert period.start == first_instant(day, calendar.zone)


@given(calendars, instants)
def test_periods_touch_and_edges_belong_to_the_later_one(calendar: Calendar, instant: datetime) -> None:
    period = contract_period(instant, calendar)
    assert period.start < period.end
    following = contract_period(period.end, calendar)
    assert following.start == period.end
    assert contract_period(period.end - MICROSECOND, calendar) == period
    assert contract_period(period.start, calendar) == period
    assert contract_period(period.start - MICROSECOND, calendar).end == period.start


@lru_cache(maxsize=1024)
def contract_periods(zone: str, anchor: int) -> list[Bounds]:
    """Every period of a contract with its own zone and anchor day that has an instant of 2020 to 2030."""
    contract = Contract.model_validate(
        {
            "contract": "c",
            "customer": {"code": "acme", "name": "Acme", "address": ["Road 1"]},
            "plan": "p",
            "validFrom": "2019-12-31",
            "timeZone": zone,
            "anchorDay": anchor,
        }
    )
    region = Defaults(Calendar("Europe/Paris", "Month", 1), timedelta(hours=72), "Grace")
    return terms_of(contract, region).periods(UNTIL + timedelta(days=1))


@given(st.sampled_from(ZONES), st.integers(1, 31), instants)
def test_each_instant_is_in_exactly_one_period_of_a_contract(
    zone: str, anchor: int, instant: datetime
) -> None:
    """Of a contract with any zone and anchor day of its own, whatever the region's are."""
    (own,) = [bounds for bounds in contract_periods(zone, anchor) if instant in bounds]
    assert own == contract_period(instant, Calendar(zone, "Month", anchor))


@given(st.sampled_from(ZONES), st.integers(1, 31))
def test_a_contracts_periods_leave_no_microsecond_out_and_share_none(zone: str, anchor: int) -> None:
    """Both sides of each of about 133 edges from 2020 to 2030, days with a clock change included."""
    found = contract_periods(zone, anchor)
    assert found[0].start <= SINCE and found[-1].end > UNTIL
    assert 132 <= len(found) <= 135
    for earlier, later in pairwise(found):
        assert earlier.end == later.start
        assert later.start in later and later.start not in earlier
        assert earlier.end - MICROSECOND in earlier and earlier.end - MICROSECOND not in later


def test_months_with_a_clock_change_are_as_long_as_they_are() -> None:
    """743 and 745 hours in Berlin, 720.5 in Lord Howe's half-hour April, 721 in New York's November."""
    lengths = {
        zone: {
            f"{bounds.first_day:%Y-%m}": (bounds.end - bounds.start) / timedelta(hours=1)
            for bounds in contract_periods(zone, 1)
        }
        for zone in ("Europe/Berlin", "Australia/Lord_Howe", "America/New_York")
    }
    assert (lengths["Europe/Berlin"]["2026-03"], lengths["Europe/Berlin"]["2026-10"]) == (743, 745)
    assert lengths["Australia/Lord_Howe"]["2026-04"] == 720.5
    assert (lengths["America/New_York"]["2026-03"], lengths["America/New_York"]["2026-11"]) == (743, 721)


@given(st.integers(1, 31), st.sampled_from(["Month", "Week", "Day"]), st.integers(-72 * 60, 72 * 60))
def test_apias_lost_day_is_in_no_period_and_no_instant_around_it_is_lost(
    anchor: int, interval: Interval, minutes: int
) -> None:
    """Apia had no 30 December 2011: midnight after the 29th was the 31st."""
    jump = datetime(2011, 12, 30, 10, tzinfo=UTC)
    calendar = Calendar("Pacific/Apia", interval, (anchor - 1) % 7 + 1 if interval == "Week" else anchor)
    instant = jump + timedelta(minutes=minutes)
    near = billing_periods(calendar, date(2011, 11, 1), None, jump + timedelta(days=60))
    (own,) = [bounds for bounds in near if instant in bounds]
    assert own == contract_period(instant, calendar)
    assert (
        day_start(date(2011, 12, 30), "Pacific/Apia") == day_start(date(2011, 12, 31), "Pacific/Apia") == jump
    )
    if interval == "Day":
        assert own.first_day == instant.astimezone(ZoneInfo("Pacific/Apia")).date() != date(2011, 12, 30)


@given(st.sampled_from(ZONES), st.sampled_from(["Month", "Week"]), st.data())
def test_all_of_2020_to_2030_is_covered_once(zone: str, interval: Interval, data: st.DataObject) -> None:
    anchor = data.draw(st.integers(1, 31 if interval == "Month" else 7))
    calendar = Calendar(zone, interval, anchor)
    found = billing_periods(calendar, date(2019, 12, 31), None, UNTIL)
    assert found[0].start <= SINCE and found[-1].end >= UNTIL
    assert all(earlier.end == later.start for earlier, later in pairwise(found))
    names = [period_name("eu", bounds, interval) for bounds in found]
    assert len(set(names)) == len(names)
    assert names == sorted(names)


@given(calendars, instants, st.integers(0, 200))
def test_a_region_reaches_the_same_periods_from_any_downtime(
    calendar: Calendar, first: datetime, days: int
) -> None:
    start = first.astimezone(ZoneInfo(calendar.zone)).date()
    until = first + timedelta(days=days)
    at_once = billing_periods(calendar, start, None, until)
    assert at_once[: len(billing_periods(calendar, start, None, first))] == billing_periods(
        calendar, start, None, first
    )
    assert all(bounds.start <= until for bounds in at_once)
    assert not at_once or at_once[-1].end > until


@given(calendars, calendars, instants)
def test_a_contract_period_is_grouped_by_exactly_one_billing_period(
    contract: Calendar, region: Calendar, instant: datetime
) -> None:
    own = contract_period(instant, contract)
    group: Bounds = billing_period_of(own.start, region, date(2020, 1, 1))
    assert (
        own.start in group
        or own.start < group.start == billing_periods(region, date(2020, 1, 1), None, UNTIL)[0].start
    )


@given(st.sampled_from(ZONES), st.dates(date(2020, 1, 1), date(2030, 12, 31)))
def test_days_start_where_the_local_date_begins(zone: str, day: date) -> None:
    assert day_start(day, zone) == first_instant(day, zone)
