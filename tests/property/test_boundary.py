"""Boundary: an event is in doubt exactly when some time within its uncertainty lies in another period."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.boundary import Edge, certain, edges, straddles, waits_for_review
from fleetmeter_rules.calendar import Calendar, contract_period

MICROSECOND = timedelta(microseconds=1)
calendars = st.builds(
    Calendar,
    st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.just("Month"),
    st.integers(1, 31),
)
instants = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001  Hypothesis takes the zone apart from it
    datetime(2031, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
spans = st.timedeltas(timedelta(0), timedelta(days=40)) | st.timedeltas(timedelta(0), timedelta(seconds=1))


@given(calendars, instants, spans)
def test_an_event_is_in_doubt_when_its_earliest_or_latest_time_is_another_periods(
    calendar: Calendar, at: datetime, far: timedelta
) -> None:
    """The oracle asks the calendar for the period of both ends."""
    own = contract_period(at, calendar)
    outside = {contract_period(end, calendar) for end in (at - far, at + far)} - {own}
    assert straddles(at, far, own.start, own.end) == bool(outside)
    since, until = certain(far, own)
    assert straddles(at, far, own.start, own.end) == (not since <= at < until)
    sides = edges(at, far, own)
    assert (Edge.PREVIOUS in sides) == any(other.end <= own.start for other in outside)
    assert (Edge.NEXT in sides) == any(other.start >= own.end for other in outside)


@given(calendars, instants)
def test_edges_are_half_open_to_the_microsecond(calendar: Calendar, at: datetime) -> None:
    own = contract_period(at, calendar)
    to_start, to_end = at - own.start, own.end - at
    assert edges(at, to_start, own) in ((), (Edge.NEXT,))
    assert Edge.PREVIOUS in edges(at, to_start + MICROSECOND, own)
    assert Edge.NEXT not in edges(at, to_end - MICROSECOND, own)
    assert Edge.NEXT in edges(at, to_end, own)


@given(calendars, instants, spans, spans)
def test_more_uncertainty_never_settles_a_doubt(
    calendar: Calendar, at: datetime, far: timedelta, more: timedelta
) -> None:
    own = contract_period(at, calendar)
    assert set(edges(at, far, own)) <= set(edges(at, far + more, own))


@given(calendars, instants, spans)
def test_both_neighbours_of_an_edge_see_the_same_doubt(
    calendar: Calendar, at: datetime, far: timedelta
) -> None:
    """Whoever is in doubt about the next period would, booked there, be in doubt about this one."""
    own = contract_period(at, calendar)
    if own.end - at <= far:
        following = contract_period(own.end, calendar)
        mirrored = own.end + (own.end - at) - MICROSECOND
        if mirrored in following:
            assert Edge.PREVIOUS in edges(mirrored, far, following)


@given(calendars, instants, spans, spans)
def test_late_usage_booked_elsewhere_is_in_no_doubt(
    calendar: Calendar, at: datetime, far: timedelta, delay: timedelta
) -> None:
    booked = contract_period(contract_period(at, calendar).end + delay, calendar)
    assert edges(at, far, booked) == ()


@given(st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 50))
def test_a_period_waits_while_more_is_undecided_than_may_pass(
    candidates: int, decided: int, threshold: int | None
) -> None:
    decided = min(decided, candidates)
    waits = waits_for_review(candidates, decided, threshold)
    assert waits == (threshold is not None and candidates - decided > threshold)
    assert not waits_for_review(candidates, candidates, threshold)
    assert not waits_for_review(0, 0, threshold)
    if waits:
        assert waits_for_review(candidates + 1, decided, threshold)
