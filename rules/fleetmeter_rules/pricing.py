"""Pricing: the exact amount of one charge for one quantity, and the tiers it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise

from fleetmeter_api.plan import Charge, PlanVersion, PricingPlanSpec, Tier
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.instant import rfc3339
from fleetmeter_rules.number import EXACT

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class TierAmount:
    """What one tier contributed: quantities over `start` up to `up_to`, exact and unrounded."""

    start: Decimal
    up_to: Decimal | None
    quantity: Decimal
    unit_price: Decimal
    flat_fee: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """The exact amount of a line, and its tiers, which sum to it."""

    exact: Decimal
    tiers: tuple[TierAmount, ...]


@dataclass(frozen=True, slots=True)
class Cliff:
    """More usage costs less: `at` costs `before`, anything just over it `after`, and less until `until` is
    reached (None: never reached again)."""

    at: Decimal
    before: Decimal
    after: Decimal
    until: Decimal | None


class NoPriceError(ValueError):
    """A plan that has no prices for a period; the text says why."""


def version_for(plan: PricingPlanSpec, period: Bounds) -> PlanVersion:
    """The version that prices a period: the last one in effect at its start.

    A version that takes effect inside a period prices from the next one on, except the plan's first, which
    prices the period in which it takes effect too. Raises NoPriceError where the plan starts after the
    period.
    """
    started = [version for version in plan.versions if version.effective_from <= period.start]
    if started:
        return max(started, key=lambda version: version.effective_from)
    first = min(plan.versions, key=lambda version: version.effective_from)
    if first.effective_from < period.end:
        return first
    raise NoPriceError(
        f"the plan has no prices before {rfc3339(first.effective_from)}; the period ends earlier"
    )


def price(charge: Charge, quantity: Decimal) -> Price:
    """The amount for a quantity >= 0, in exact decimals: decimal.Inexact is raised before a digit is lost.

    Graduated (the article's pattern B): each tier prices what falls into it. Volume (pattern A): the tier
    that holds the quantity prices all of it. A tier's flat fee counts once the tier is entered; no usage,
    no fee. Quantities between two whole tier bounds belong to the upper tier. Raises ValueError for a
    quantity below 0.
    """
    if not quantity.is_finite() or quantity < 0:
        raise ValueError(f"a quantity of {quantity} can't be priced; it must be 0 or more")
    with localcontext(EXACT):
        rows = (
            _volume(_tiers(charge), quantity)
            if charge.model == "Volume"
            else _graduated(_tiers(charge), quantity)
        )
        return Price(sum((row.amount for row in rows), _ZERO), tuple(rows))


def cliffs(tiers: Sequence[Tier]) -> tuple[Cliff, ...]:
    """Where a Volume charge makes more usage cost less; empty for tiers without such a drop."""
    found: list[Cliff] = []
    with localcontext(EXACT):
        for index, (tier, following) in enumerate(pairwise(tiers)):
            if tier.up_to is None:
                break
            before = _fee(tier) + tier.up_to * tier.unit_price
            after = _fee(following) + tier.up_to * following.unit_price
            if after < before:
                found.append(
                    Cliff(tier.up_to, before, after, _recovery(tiers[index + 1 :], tier.up_to, before))
                )
    return tuple(found)


def _recovery(tiers: Sequence[Tier], start: Decimal, amount: Decimal) -> Decimal | None:
    """The least whole quantity over `start`, in these tiers, that costs at least `amount`."""
    for tier in tiers:
        needed = start // 1 + 1
        if tier.unit_price > 0:
            needed = max(needed, _ceiling(amount - _fee(tier), tier.unit_price))
        dear_enough = _fee(tier) + needed * tier.unit_price >= amount
        if dear_enough and (tier.up_to is None or needed <= tier.up_to):
            return needed
        start = start if tier.up_to is None else tier.up_to
    return None


def _ceiling(amount: Decimal, unit_price: Decimal) -> Decimal:
    whole, rest = divmod(max(amount, _ZERO), unit_price)
    return whole + 1 if rest else whole


def _tiers(charge: Charge) -> tuple[Tier, ...]:
    """The charge's tiers; PerUnit is one tier without end. The model has checked that they cover
    everything."""
    if charge.unit_price is not None:
        return (Tier(unit_price=charge.unit_price),)
    return charge.tiers or ()


def _fee(tier: Tier) -> Decimal:
    return tier.flat_fee or _ZERO


def _graduated(tiers: tuple[Tier, ...], quantity: Decimal) -> list[TierAmount]:
    rows: list[TierAmount] = []
    start = _ZERO
    for tier in tiers:
        if start > 0 and quantity <= start:
            break
        end = quantity if tier.up_to is None else min(quantity, tier.up_to)
        rows.append(_row(start, tier, end - start, entered=quantity > start))
        if tier.up_to is None:
            break
        start = tier.up_to
    return rows


def _volume(tiers: tuple[Tier, ...], quantity: Decimal) -> list[TierAmount]:
    start = _ZERO
    for tier in tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return [_row(start, tier, quantity, entered=quantity > 0)]
        start = tier.up_to
    raise AssertionError("checked tiers have an open end")


def _row(start: Decimal, tier: Tier, quantity: Decimal, entered: bool) -> TierAmount:
    fee = _fee(tier) if entered else _ZERO
    return TierAmount(start, tier.up_to, quantity, tier.unit_price, fee, quantity * tier.unit_price + fee)
