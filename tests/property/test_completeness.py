"""Completeness: held and missing numbers make up what the device counted, each once."""

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.completeness import Gap, completeness

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


def test_the_sentence_for_people() -> None:
    held = [n for n in range(1, 1001) if n not in (412, 413, 414)]
    assert str(completeness(held)) == "counted 1,000, hold 997, missing 412-414"
    assert str(completeness([1, 3], before=0)) == "counted 3, hold 2, missing 2"
    assert completeness([9], before=6).gaps == (Gap(7, 8),)
    assert Gap(7, 8).size == 2
    assert str(completeness([])) == "counted 0, hold 0"
