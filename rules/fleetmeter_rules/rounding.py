"""Rounding: once per line, half away from zero, to the currency's ISO 4217 minor unit."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from fleetmeter_rules.number import EXACT

_ZERO: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
_TWO: Final = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD
HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP
MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED
VES WST XAD XCD XCG YER ZAR ZMW ZWG ZWL
"""

MINOR_UNITS: Final[dict[str, int]] = {
    code: digits
    for codes, digits in ((_ZERO, 0), (_TWO, 2), (_THREE, 3), (_FOUR, 4))
    for code in codes.split()
}
"""Decimal places by code: ISO 4217 list one, and what left it since 2020. Metals, funds without a unit: not
here."""


class UnknownCurrencyError(ValueError):
    """A currency code that ISO 4217 does not give minor units for; nothing is assumed."""


def minor_units(currency: str) -> int:
    """Decimal places of a currency. Raises UnknownCurrencyError instead of assuming two."""
    try:
        return MINOR_UNITS[currency]
    except KeyError:
        raise UnknownCurrencyError(
            f"{currency!r} is no currency of ISO 4217; write a code like EUR or USD"
        ) from None


def minor_unit(currency: str) -> Decimal:
    """The smallest amount of a currency: 0.01 for EUR, 1 for JPY."""
    return Decimal(1).scaleb(-minor_units(currency))


def round_amount(exact: Decimal, currency: str) -> Decimal:
    """The exact amount at the currency's minor unit, half away from zero: 0.005 -> 0.01, -0.005 -> -0.01
    EUR."""
    places = EXACT.copy()
    places.clear_traps()
    rounded = exact.quantize(minor_unit(currency), rounding=ROUND_HALF_UP, context=places)
    return rounded.copy_abs() if rounded.is_zero() else rounded


def money(amount: Decimal, currency: str) -> str:
    """A rounded amount as text with all of the currency's decimals. Raises ValueError if it is not
    rounded."""
    rounded = round_amount(amount, currency)
    if rounded != amount:
        raise ValueError(f"{amount} {currency} is not rounded to {minor_units(currency)} decimals")
    return format(rounded, "f")
