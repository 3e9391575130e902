"""Allocation: who gets the last cent."""

from decimal import Decimal

import pytest

from fleetmeter_rules.allocation import allocate

CENT = Decimal("0.01")


def split(total: str, **weights: str) -> dict[str, str]:
    parts = allocate(Decimal(total), {key: Decimal(value) for key, value in weights.items()}, CENT)
    return {key: str(value) for key, value in parts.items()}


def test_the_largest_remainder_gets_the_cent() -> None:
    assert split("1.00", a="1", b="1", c="1") == {"a": "0.34", "b": "0.33", "c": "0.33"}
    assert split("0.02", a="0.1", b="0.5", c="0.4") == {"a": "0.00", "b": "0.01", "c": "0.01"}
    assert split("100.00", a="1", b="2", c="4") == {"a": "14.29", "b": "28.57", "c": "57.14"}


def test_a_tie_goes_by_key_whatever_the_order() -> None:
    assert split("0.01", b="1", a="1") == {"b": "0.00", "a": "0.01"}
    assert split("-0.01", b="1", a="1") == {"b": "0.00", "a": "-0.01"}


def test_no_weight_at_all_is_split_evenly() -> None:
    assert split("0.03", a="0", b="0") == {"a": "0.02", "b": "0.01"}


def test_what_can_not_be_split() -> None:
    assert allocate(Decimal(0), {}, CENT) == {}
    with pytest.raises(ValueError, match="nothing to be split over"):
        allocate(CENT, {}, CENT)
    with pytest.raises(ValueError, match="negative"):
        split("1.00", a="-1")
    with pytest.raises(ValueError, match="no multiple"):
        split("0.005", a="1")
