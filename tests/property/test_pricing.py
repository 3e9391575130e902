"""Pricing: against fractions, unit by unit where that can be counted."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.plan import Charge, Tier
from fleetmeter_rules.pricing import cliffs, price

prices = st.decimals(0, 1000, places=12)
quantities = st.decimals(0, 10**9, places=10)
fees = st.none() | st.decimals(0, 100, places=2)


@st.composite
def tiered(draw: st.DrawFn, highest: int = 10**9) -> tuple[Tier, ...]:
    bounds = sorted(draw(st.sets(st.integers(1, highest), max_size=5)))
    ends: list[Decimal | None] = [*(Decimal(bound) for bound in bounds), None]
    return tuple(Tier(up_to=end, unit_price=draw(prices), flat_fee=draw(fees)) for end in ends)


def charge(model: str, tiers: tuple[Tier, ...]) -> Charge:
    return Charge.model_validate({"name": "c", "metric": "m", "model": model, "tiers": tiers})


def ends(tiers: tuple[Tier, ...]) -> list[tuple[Tier, Fraction, Fraction | None]]:
    start, out = Fraction(0), list[tuple[Tier, Fraction, Fraction | None]]()
    for tier in tiers:
        end = None if tier.up_to is None else Fraction(tier.up_to)
        out.append((tier, start, end))
        start = start if end is None else end
    return out


@given(quantities, prices)
def test_per_unit(quantity: Decimal, unit_price: Decimal) -> None:
    one = Charge.model_validate({"name": "c", "metric": "m", "model": "PerUnit", "unitPrice": unit_price})
    assert Fraction(price(one, quantity).exact) == Fraction(quantity) * Fraction(unit_price)


@given(quantities, tiered())
def test_volume_is_the_price_of_the_one_tier(quantity: Decimal, tiers: tuple[Tier, ...]) -> None:
    exact = Fraction(quantity)
    tier = next(
        t for t, start, end in ends(tiers) if (end is None or exact <= end) and (exact > start or start == 0)
    )
    expected = exact * Fraction(tier.unit_price) + (Fraction(tier.flat_fee or 0) if exact else 0)
    assert Fraction(price(charge("Volume", tiers), quantity).exact) == expected


@given(quantities, tiered())
def test_graduated_is_the_sum_over_the_tiers(quantity: Decimal, tiers: tuple[Tier, ...]) -> None:
    exact, expected = Fraction(quantity), Fraction(0)
    for tier, start, end in ends(tiers):
        part = max(Fraction(0), (exact if end is None else min(exact, end)) - start)
        expected += part * Fraction(tier.unit_price) + (Fraction(tier.flat_fee or 0) if part else 0)
    assert Fraction(price(charge("Graduated", tiers), quantity).exact) == expected


@given(st.integers(0, 60), tiered(highest=40))
def test_graduated_unit_by_unit(quantity: int, tiers: tuple[Tier, ...]) -> None:
    expected, reached = Fraction(0), set[Decimal | None]()
    for unit in range(1, quantity + 1):
        tier = next(t for t in tiers if t.up_to is None or unit <= t.up_to)
        expected += Fraction(tier.unit_price)
        if tier.up_to not in reached:
            expected += Fraction(tier.flat_fee or 0)
            reached.add(tier.up_to)
    assert Fraction(price(charge("Graduated", tiers), Decimal(quantity)).exact) == expected


@given(st.sampled_from(["Graduated", "Volume"]), quantities, tiered())
def test_the_tiers_add_up_to_the_line(model: str, quantity: Decimal, tiers: tuple[Tier, ...]) -> None:
    priced = price(charge(model, tiers), quantity)
    assert sum(Fraction(row.amount) for row in priced.tiers) == Fraction(priced.exact)
    assert sum(Fraction(row.quantity) for row in priced.tiers) == Fraction(quantity)


@given(tiered(), quantities, quantities)
def test_more_usage_never_costs_less_when_graduated(
    tiers: tuple[Tier, ...], one: Decimal, other: Decimal
) -> None:
    low, high = sorted([one, other])
    graduated = charge("Graduated", tiers)
    assert price(graduated, low).exact <= price(graduated, high).exact


@given(tiered(highest=30))
def test_cliffs_are_exactly_where_the_next_unit_costs_less(tiers: tuple[Tier, ...]) -> None:
    volume = charge("Volume", tiers)
    tiny = Decimal("0.000000000001")
    found = {cliff.at: cliff for cliff in cliffs(tiers)}
    for tier in tiers[:-1]:
        assert tier.up_to is not None
        at, over = price(volume, tier.up_to).exact, price(volume, tier.up_to + tiny).exact
        if tier.up_to in found:
            cliff = found[tier.up_to]
            assert cliff.after < cliff.before == at
            higher = [u for u in range(int(tier.up_to) + 1, 80) if price(volume, Decimal(u)).exact >= at]
            assert cliff.until == (higher[0] if higher else cliff.until)
            assert cliff.until is None or price(volume, cliff.until).exact >= at
        else:
            assert over >= at
