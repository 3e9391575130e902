"""Pricing: the article's figures, and every boundary of a tier."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from fleetmeter_api.plan import Charge, PricingPlanSpec
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.number import plain
from fleetmeter_rules.pricing import Cliff, NoPriceError, cliffs, price, version_for

DEVICES = [
    {"upTo": "10000", "unitPrice": "5.00"},
    {"upTo": "50000", "unitPrice": "3.50"},
    {"unitPrice": "2.00"},
]


def charge(model: str, **fields: object) -> Charge:
    return Charge.model_validate({"name": "devices", "metric": "messages", "model": model, **fields})


@pytest.mark.parametrize(
    ("model", "quantity", "amount"),
    [
        ("Volume", "18500", "64750"),
        ("Graduated", "18500", "79750"),
        ("Volume", "10000", "50000"),
        ("Volume", "10001", "35003.5"),
        ("Volume", "50000", "175000"),
        ("Volume", "50001", "100002"),
        ("Graduated", "10000", "50000"),
        ("Graduated", "10001", "50003.5"),
        ("Graduated", "50000", "190000"),
        ("Graduated", "50001", "190002"),
        ("Volume", "0", "0"),
        ("Graduated", "0", "0"),
        ("Volume", "10000.5", "35001.75"),
        ("Graduated", "10000.5", "50001.75"),
        ("Volume", "9250", "46250"),
        ("Graduated", "6500", "32500"),
    ],
)
def test_the_articles_fleet(model: str, quantity: str, amount: str) -> None:
    priced = price(charge(model, tiers=DEVICES), Decimal(quantity))
    assert plain(priced.exact) == amount
    assert sum(tier.amount for tier in priced.tiers) == priced.exact
    assert sum(tier.quantity for tier in priced.tiers) == Decimal(quantity)


def test_tiers_that_were_reached_are_shown() -> None:
    rows = price(charge("Graduated", tiers=DEVICES), Decimal(18500)).tiers
    assert [(plain(r.start), r.up_to and plain(r.up_to), plain(r.quantity)) for r in rows] == [
        ("0", "10000", "10000"),
        ("10000", "50000", "8500"),
    ]


def test_a_quantity_between_whole_bounds_is_priced() -> None:
    tiers = [{"upTo": "99", "unitPrice": "1"}, {"upTo": "199", "unitPrice": "0.5"}, {"unitPrice": "0.1"}]
    assert price(charge("Volume", tiers=tiers), Decimal("99.5")).exact == Decimal("49.75")


def test_a_flat_fee_counts_once_the_tier_is_entered() -> None:
    tiers = [
        {"upTo": "10", "unitPrice": "0", "flatFee": "2"},
        {"upTo": "20", "unitPrice": "1", "flatFee": "3"},
        {"unitPrice": "1"},
    ]
    expected = {"0": ("0", "0"), "1": ("2", "2"), "10": ("2", "2"), "11": ("6", "14"), "25": ("20", "25")}
    for quantity, (graduated, volume) in expected.items():
        assert plain(price(charge("Graduated", tiers=tiers), Decimal(quantity)).exact) == graduated
        assert plain(price(charge("Volume", tiers=tiers), Decimal(quantity)).exact) == volume


def test_per_unit_keeps_every_digit() -> None:
    priced = price(charge("PerUnit", unitPrice="0.000000000001"), Decimal("9999999999.9999999999"))
    assert plain(priced.exact) == "0.0099999999999999999999"
    assert plain(price(charge("PerUnit", unitPrice="8.165"), Decimal(2)).exact) == "16.33"


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity"])
def test_what_can_not_be_priced(quantity: str) -> None:
    with pytest.raises(ValueError, match="can't be priced"):
        price(charge("PerUnit", unitPrice="1"), Decimal(quantity))


def test_the_articles_cliffs_are_found() -> None:
    tiers = charge("Volume", tiers=DEVICES).tiers
    assert tiers is not None
    assert cliffs(tiers) == (
        Cliff(Decimal(10000), Decimal(50000), Decimal(35000), Decimal(14286)),
        Cliff(Decimal(50000), Decimal(175000), Decimal(100000), Decimal(87500)),
    )


def test_rising_prices_and_fees_that_make_up_for_it_are_no_cliff() -> None:
    rising = charge("Volume", tiers=[{"upTo": "10", "unitPrice": "1"}, {"unitPrice": "2"}]).tiers
    level = charge(
        "Volume", tiers=[{"upTo": "10", "unitPrice": "1"}, {"unitPrice": "0.5", "flatFee": "5"}]
    ).tiers
    assert rising and level
    assert cliffs(rising) == cliffs(level) == ()


def test_a_cliff_that_is_never_made_up_for() -> None:
    free = charge("Volume", tiers=[{"upTo": "10", "unitPrice": "1"}, {"unitPrice": "0"}]).tiers
    assert free
    assert cliffs(free) == (Cliff(Decimal(10), Decimal(10), Decimal(0), None),)


def plan(*starts: str) -> PricingPlanSpec:
    charges = [{"name": "m", "metric": "messages", "model": "PerUnit", "unitPrice": "1"}]
    versions = [{"version": s[:10], "effectiveFrom": s, "charges": charges} for s in starts]
    return PricingPlanSpec.model_validate({"currency": "EUR", "versions": versions})


def month(number: int) -> Bounds:
    return Bounds(
        datetime(2023, number, 1, tzinfo=UTC),
        datetime(2023, number + 1, 1, tzinfo=UTC),
        date(2023, number, 1),
    )


def test_a_period_has_the_prices_of_its_start() -> None:
    prices = plan("2023-01-01T00:00:00Z", "2023-02-03T00:00:00Z", "2023-03-01T00:00:00Z")
    assert version_for(prices, month(1)).version == "2023-01-01"
    assert version_for(prices, month(2)).version == "2023-01-01"
    assert version_for(prices, month(3)).version == "2023-03-01"


def test_the_first_version_prices_the_period_in_which_it_starts() -> None:
    assert version_for(plan("2023-02-03T00:00:00Z"), month(2)).version == "2023-02-03"
    with pytest.raises(NoPriceError, match="no prices before 2023-02-03"):
        version_for(plan("2023-02-03T00:00:00Z"), month(1))
