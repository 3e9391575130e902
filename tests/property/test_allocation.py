"""Allocation: parts sum to the total and are the exact shares, rounded down or up."""

from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.allocation import allocate

weights = st.dictionaries(
    st.text("abcé😀", max_size=3), st.decimals(0, 10**6, places=6), min_size=1, max_size=12
)
units = st.sampled_from([Decimal("1"), Decimal("0.01"), Decimal("0.001"), Decimal("0.0001")])
counts = st.integers(-(10**30), 10**30)


def share(total: Decimal, parts: dict[str, Decimal], key: str) -> Fraction:
    whole = sum(Fraction(weight) for weight in parts.values())
    weight = Fraction(parts[key]) / whole if whole else Fraction(1, len(parts))
    return Fraction(total) * weight


@given(counts, weights, units)
def test_the_parts_sum_to_the_total_and_stay_within_a_unit(
    count: int, given: dict[str, Decimal], unit: Decimal
) -> None:
    total = Decimal(f"{count}E{unit.as_tuple().exponent}")
    parts = allocate(total, given, unit)
    assert list(parts) == list(given)
    assert sum(Fraction(part) for part in parts.values()) == Fraction(total)
    for key, part in parts.items():
        assert abs(Fraction(part) - share(total, given, key)) < Fraction(unit)
        assert (Fraction(part) / Fraction(unit)).denominator == 1


@given(counts, weights, units, st.randoms())
def test_the_order_makes_no_difference(
    count: int, given: dict[str, Decimal], unit: Decimal, shuffler: Random
) -> None:
    total = Decimal(f"{count}E{unit.as_tuple().exponent}")
    keys = list(given)
    shuffler.shuffle(keys)
    assert allocate(total, {key: given[key] for key in keys}, unit) == allocate(total, given, unit)


@given(st.integers(0, 1000), weights)
def test_nobody_gains_by_a_smaller_remainder(count: int, given: dict[str, Decimal]) -> None:
    total = Decimal(count)
    parts = allocate(total, given, Decimal(1))
    rest = {key: share(total, given, key) % 1 for key in given}
    up = {key for key in given if Fraction(parts[key]) > share(total, given, key) // 1}
    for winner in up:
        for loser in set(given) - up:
            assert (-rest[winner], winner.encode()) < (-rest[loser], loser.encode())
