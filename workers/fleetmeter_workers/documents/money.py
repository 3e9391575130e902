"""Decimal strings as people read them: grouped digits, a currency sign, never a float."""

from decimal import Decimal

_SIGNS = {
    "AUD": "A$",
    "BRL": "R$",
    "CAD": "CA$",
    "CNY": "CN¥",
    "EUR": "€",
    "GBP": "£",
    "INR": "₹",
    "JPY": "¥",
    "KRW": "₩",
    "NZD": "NZ$",
    "USD": "$",
}
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"


def places(amount: str) -> int:
    """How many digits follow the point in a decimal string."""
    return len(amount.partition(".")[2])


def number(value: str | int, least_places: int = 0) -> str:
    """A decimal string with grouped thousands and every digit; zeros beyond `least_places` fall away.

    Raises ValueError for a number that is not finite.
    """
    exact = Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    whole, _, fraction = f"{exact.copy_abs():,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(least_places, "0")
    sign = _MINUS if exact < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def money(amount: str, currency: str, least_places: int = 0) -> str:
    """An amount with its currency's sign, or with its code where the sign would be ambiguous."""
    digits = number(amount, least_places)
    sign = _SIGNS.get(currency, f"{currency}{_SPACE}")
    return f"{_MINUS}{sign}{digits[1:]}" if digits.startswith(_MINUS) else f"{sign}{digits}"
