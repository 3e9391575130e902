"""Decimal strings as a terminal shows them: grouped, every digit kept."""

from decimal import Decimal


def number(value: str | int | Decimal, least_places: int = 0) -> str:
    """Grouped thousands; zeros at the end beyond `least_places` fall away."""
    exact = Decimal(value)
    sign = "-" if exact < 0 else ""
    whole, _, fraction = f"{exact.copy_abs():,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(least_places, "0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def money(value: str | Decimal, currency: str, least_places: int = 0) -> str:
    """The amount and its currency's code: `1,234.50 EUR`."""
    return f"{number(value, least_places)} {currency}"


def places(value: str) -> int:
    """How many digits follow the point."""
    return len(value.partition(".")[2])
