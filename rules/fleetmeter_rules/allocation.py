"""Allocation: split a rounded amount over weights by largest remainder, so that the parts sum to it."""

from collections.abc import Mapping
from decimal import Decimal, localcontext

from fleetmeter_rules.number import EXACT


def allocate(total: Decimal, weights: Mapping[str, Decimal], unit: Decimal) -> dict[str, Decimal]:
    """Parts of `total` in proportion to the weights, each a multiple of `unit`, which sum to `total`.

    Every part is the exact share rounded down or up to the unit. Units left over go to the largest
    remainders; equal remainders go by key in UTF-8 order. All weights 0: equal shares. A negative total
    mirrors the positive one. Raises ValueError for a negative weight, a total that is no multiple of the
    unit, or an amount without weights.
    """
    if total < 0:
        mirrored = allocate(total.copy_negate(), weights, unit)
        return {key: part.copy_negate() if part else part for key, part in mirrored.items()}
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("a weight is negative; an amount can't be split by it")
    with localcontext(EXACT):
        units, rest = divmod(total, unit)
        if rest:
            raise ValueError(f"{total} is no multiple of {unit}")
        if not weights:
            if units:
                raise ValueError(f"{total} has nothing to be split over")
            return {}
        parts = _largest_remainder(int(units), _whole(weights))
        return {key: parts[key] * unit for key in weights}


def _whole(weights: Mapping[str, Decimal]) -> dict[str, int]:
    """The weights as integers of the same proportions; all 1 where all are 0."""
    places = max(0, *(-int(weight.as_tuple().exponent) for weight in weights.values()), 0)
    whole = {key: int(weight.scaleb(places)) for key, weight in weights.items()}
    return whole if any(whole.values()) else dict.fromkeys(whole, 1)


def _largest_remainder(units: int, weights: dict[str, int]) -> dict[str, int]:
    total = sum(weights.values())
    floors = {key: units * weight // total for key, weight in weights.items()}
    left = units - sum(floors.values())
    by_remainder = sorted(weights, key=lambda key: (-(units * weights[key] % total), key.encode()))
    for key in by_remainder[:left]:
        floors[key] += 1
    return floors
