"""Ownership: the last word about an instant counts, and a word about another instant changes nothing."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.ownership import Binding, owner_at

days = st.integers(0, 20)


def at(day: int) -> datetime:
    return datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)


@st.composite
def histories(draw: st.DrawFn) -> list[Binding]:
    spans = draw(st.lists(st.tuples(st.sampled_from("abc"), days, st.none() | days), max_size=8))
    return [
        Binding(customer, at(start), None if end is None else at(start + end), number)
        for number, (customer, start, end) in enumerate(spans)
    ]


@given(histories(), days)
def test_painting_day_by_day_gives_the_owner(history: list[Binding], day: int) -> None:
    owner: dict[int, str] = {}
    for binding in history:
        for painted in range(21):
            if binding.valid_from <= at(painted) and (
                binding.valid_to is None or at(painted) < binding.valid_to
            ):
                owner[painted] = binding.customer
    assert owner_at(history, at(day)) == owner.get(day)
    assert owner_at(history[::-1], at(day)) == owner.get(day)
