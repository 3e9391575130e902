"""Rounding: the mode, the currencies, and figures that per-piece rounding gets wrong."""

from decimal import Decimal

import pytest

from fleetmeter_rules.rounding import MINOR_UNITS, UnknownCurrencyError, minor_units, money, round_amount


@pytest.mark.parametrize(
    ("exact", "currency", "rounded"),
    [
        ("0.005", "EUR", "0.01"),
        ("-0.005", "EUR", "-0.01"),
        ("0.015", "EUR", "0.02"),
        ("0.0149999999999", "EUR", "0.01"),
        ("-0.004", "EUR", "0.00"),
        ("0.5", "JPY", "1"),
        ("2.5", "JPY", "3"),
        ("1.2345", "KWD", "1.235"),
        ("1.22505", "CLF", "1.2251"),
        ("23072.5296", "EUR", "23072.53"),
        ("16.33", "EUR", "16.33"),
        ("92.5", "USD", "92.50"),
        ("1e33", "EUR", "1" + "0" * 33 + ".00"),
    ],
)
def test_half_goes_away_from_zero(exact: str, currency: str, rounded: str) -> None:
    assert money(round_amount(Decimal(exact), currency), currency) == rounded


def test_the_minor_units_of_iso_4217() -> None:
    assert {
        code: minor_units(code) for code in ("EUR", "JPY", "KWD", "CLF", "ISK", "UGX", "TND", "CLP", "UYW")
    } == {
        "EUR": 2,
        "JPY": 0,
        "KWD": 3,
        "CLF": 4,
        "ISK": 0,
        "UGX": 0,
        "TND": 3,
        "CLP": 0,
        "UYW": 4,
    }
    assert all(len(code) == 3 and code.isupper() for code in MINOR_UNITS)


@pytest.mark.parametrize("code", ["", "eur", "XXX", "XAU", "ABC", "EURO", "BTC"])
def test_an_unknown_code_is_refused_not_assumed(code: str) -> None:
    with pytest.raises(UnknownCurrencyError, match="ISO 4217"):
        minor_units(code)


def test_an_amount_that_is_not_rounded_is_not_written() -> None:
    with pytest.raises(ValueError, match="not rounded"):
        money(Decimal("0.005"), "EUR")
