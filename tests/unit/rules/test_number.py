"""Numbers: which quantities are taken, and how they are written."""

from decimal import Decimal, Inexact

import pytest

from fleetmeter_rules.number import EXACT, QuantityError, plain, quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.0", "0"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("25E-1", "2.5"),
        ("9999999999.9999999999", "9999999999.9999999999"),
        ("0.0000000001", "0.0000000001"),
    ],
)
def test_taken(text: str, value: str) -> None:
    assert plain(quantity(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "nan",
        "Infinity",
        "-1",
        "+1",
        "1_000",
        "1,5",
        " 1",
        "1 ",
        "0x10",
        "007",
        ".5",
        "5.",
        "١٢",
        "1e400",
        "1E+9999",
        "10000000000",
        "1e-11",
        "0.00000000001",
        "true",
        "1" * 41,
        "1" * 5000,
        "１",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        quantity(text)


def test_a_refusal_shows_foreign_text_cut_and_printable() -> None:
    with pytest.raises(QuantityError) as caught:
        quantity("\u202e" + "9" * 5000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 150


def test_plain_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        plain(Decimal("NaN"))


def test_the_exact_context_raises_before_a_digit_is_lost() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))
