"""Rounding: the nearest multiple of the minor unit, ties away from zero, by integer arithmetic."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.rounding import MINOR_UNITS, minor_units, money, round_amount

amounts = st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=15)
halves = st.builds("{}E-{}".format, st.integers(-(10**6), 10**6), st.integers(0, 6)).map(Decimal)


@given(amounts | halves, st.sampled_from(sorted(MINOR_UNITS)))
def test_the_nearest_unit_with_ties_away_from_zero(exact: Decimal, currency: str) -> None:
    scaled = abs(Fraction(exact)) * 10 ** minor_units(currency)
    units = (2 * scaled + 1).__floor__() // 2
    expected = Fraction(units, 10 ** minor_units(currency)) * (-1 if exact < 0 else 1)
    rounded = round_amount(exact, currency)
    assert Fraction(rounded) == expected
    assert round_amount(rounded, currency) == rounded
    assert not (rounded.is_zero() and rounded.is_signed())
    assert Decimal(money(rounded, currency)) == rounded


@given(amounts, st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_the_sign_is_a_mirror(exact: Decimal, currency: str) -> None:
    assert Fraction(round_amount(exact.copy_negate(), currency)) == -Fraction(round_amount(exact, currency))
