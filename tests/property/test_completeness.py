"""Completeness: held and missing numbers make up what the device counted, each once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.completeness import Gap, bound_in, completeness
from fleetmeter_rules.ownership import Binding, owner_at

numbers = st.lists(st.integers(0, 60), max_size=40)


@given(numbers, st.none() | st.integers(-1, 60))
def test_held_and_missing_are_what_was_counted(held: list[int], before: int | None) -> None:
    found = completeness(held, before)
    missing = [number for gap in found.gaps for number in range(gap.first, gap.last + 1)]
    assert sorted(set(missing)) == missing
    assert not set(missing) & set(held)
    assert found.held == len(set(held))
    if not held:
        assert (found.counted, missing) == (0, [])
        return
    first = min(held) if before is None else before + 1
    window = set(range(first, max(held) + 1))
    assert set(missing) == window - set(held)
    assert found.counted == len(window)


days = st.integers(0, 30).map(lambda day: datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day))
bindings = st.lists(
    st.tuples(st.sampled_from(["acme", "bolt"]), days, st.none() | days).filter(
        lambda one: one[2] is None or one[1] < one[2]
    ),
    max_size=5,
)


@given(bindings, days, days)
def test_a_device_is_the_customers_in_a_period_if_it_is_at_any_instant_of_it(
    recorded: list[tuple[str, datetime, datetime | None]], one: datetime, other: datetime
) -> None:
    """The oracle asks for the owner at each half day; bindings begin and end at midnight."""
    start, end = min(one, other), max(one, other) + timedelta(days=1)
    owners = [Binding(*binding, place) for place, binding in enumerate(recorded)]
    halves = [start + timedelta(hours=12 * half) for half in range(2 * (end - start).days)]
    expected = any(owner_at(owners, half) == "acme" for half in halves)
    assert bound_in(owners, "acme", start, end) == expected


@given(numbers, st.integers(0, 60))
def test_cut_at_any_number_both_parts_together_find_what_the_whole_finds(held: list[int], cut: int) -> None:
    """No gap is counted twice or lost at an edge: it counts behind it."""
    earlier, later = [n for n in held if n < cut], [n for n in held if n >= cut]
    first = completeness(earlier)
    second = completeness(later, max(earlier, default=None))
    whole = completeness(held)
    assert first.missing + second.missing == whole.missing
    assert first.held + second.held == whole.held
    assert sum(gap.size for gap in (*first.gaps, *second.gaps)) == sum(gap.size for gap in whole.gaps)


def test_the_sentence_for_people() -> None:
    held = [n for n in range(1, 1001) if n not in (412, 413, 414)]
    assert str(completeness(held)) == "counted 1,000, hold 997, missing 412-414"
    assert str(completeness([1, 3], before=0)) == "counted 3, hold 2, missing 2"
    assert completeness([9], before=6).gaps == (Gap(7, 8),)
    assert Gap(7, 8).size == 2
    assert str(completeness([])) == "counted 0, hold 0"
