"""Numbers: exact decimals in, plain text out; a context that refuses to lose a digit."""

import re
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow
from functools import lru_cache
from typing import Final

EXACT: Final = Context(
    prec=400,
    Emax=999_999,
    Emin=-999_999,
    traps=[DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow],
)
"""Sums and products on the money path run in this context: a lost digit raises decimal.Inexact."""

INTEGER_DIGITS: Final = 10
FRACTION_DIGITS: Final = 10
_LEAST: Final = Decimal(1).scaleb(-FRACTION_DIGITS)
_QUANTITY = re.compile(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


class QuantityError(ValueError):
    """A quantity that no invoice can hold; the text says why."""


@lru_cache(maxsize=16_384)
def quantity(text: str) -> Decimal:
    """A device's quantity: a finite decimal >= 0 with at most 10 integer and 10 fraction digits.

    The grammar is JSON's, in ASCII. Raises QuantityError; the message is for people.
    """
    if not _QUANTITY.fullmatch(text):
        raise QuantityError(f"{clip(text)} is no plain decimal number")
    value = Decimal(text)
    if value < 0:
        raise QuantityError(f"{clip(text)} is negative; a correction is an adjustment, not usage")
    if value.is_zero():
        return Decimal(0)
    value = value.normalize(EXACT)
    if value.adjusted() >= INTEGER_DIGITS:
        raise QuantityError(f"{clip(text)} has more than {INTEGER_DIGITS} digits before the point")
    if EXACT.remainder(value, _LEAST):
        raise QuantityError(f"{clip(text)} has more than {FRACTION_DIGITS} digits after the point")
    return value


def plain(value: Decimal) -> str:
    """The value without exponent and without zeros at the end: 739, 7.39, 0. Raises ValueError for NaN,
    Infinity."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a finite number")
    if value.is_zero():
        return "0"
    return format(value.normalize(EXACT), "f")


def clip(text: str, most: int = 60) -> str:
    """Foreign text for a message to people: quoted, printable, cut."""
    shown = ascii(text[:most])
    return shown if len(text) <= most else f"{shown}…"
