"""Adjustment: late usage in any slices ends in the sum of one invoice of everything."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.plan import PlanVersion
from fleetmeter_rules.adjustment import Adjustment, LatePeriod, adjust
from fleetmeter_rules.calendar import Calendar, contract_period
from fleetmeter_rules.pricing import price
from fleetmeter_rules.rounding import round_amount
from fleetmeter_rules.usage import DeviceUsage, measured

MARCH = contract_period(datetime(2026, 3, 15, tzinfo=UTC), Calendar())
PLAN = PlanVersion.model_validate(
    {
        "version": "1",
        "effectiveFrom": "2026-01-01T00:00:00Z",
        "charges": [
            {"name": "unit", "metric": "messages", "model": "PerUnit", "unitPrice": "0.333"},
            {
                "name": "graduated",
                "metric": "messages",
                "model": "Graduated",
                "tiers": [{"upTo": "5", "unitPrice": "0.015", "flatFee": "1"}, {"unitPrice": "0.004"}],
            },
            {
                "name": "volume",
                "metric": "messages",
                "model": "Volume",
                "tiers": [
                    {"upTo": "5", "unitPrice": "5"},
                    {"upTo": "20", "unitPrice": "3.5"},
                    {"unitPrice": "2"},
                ],
            },
            {
                "name": "devices",
                "metric": "messages",
                "measure": "ActiveDevices",
                "model": "PerUnit",
                "unitPrice": "1.255",
            },
        ],
    }
)


def used(alias: str, quantity: Decimal) -> DeviceUsage:
    return DeviceUsage(alias, "messages", quantity, 1, MARCH.start, MARCH.start)


slices = st.lists(
    st.lists(
        st.builds(used, st.sampled_from("abc"), st.decimals(0, 12, places=3)),
        min_size=1,
        max_size=3,
        unique_by=lambda usage: usage.alias,
    ),
    min_size=1,
    max_size=5,
)


def billed_in_slices(parts: Sequence[Sequence[DeviceUsage]]) -> tuple[dict[str, Decimal], list[Adjustment]]:
    booked: list[DeviceUsage] = []
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    found: list[Adjustment] = []
    for part in parts:
        for adjustment in adjust(LatePeriod("eu-202603", MARCH, PLAN, booked, amounts, part), {}, "EUR"):
            found.append(adjustment)
            amounts[adjustment.charge.name] += adjustment.amount
        booked = [*booked, *part]
    return amounts, found


@given(slices)
def test_slices_end_in_the_sum_of_one_invoice(parts: list[list[DeviceUsage]]) -> None:
    amounts, _ = billed_in_slices(parts)
    everything = [usage for part in parts for usage in part]
    for charge in PLAN.charges:
        whole = measured(charge, everything, {})
        assert amounts[charge.name] == round_amount(price(charge, whole.quantity).exact, "EUR")
    assert billed_in_slices(parts[::-1])[0] == amounts


@given(slices)
def test_the_devices_of_an_adjustment_sum_to_it(parts: list[list[DeviceUsage]]) -> None:
    for adjustment in billed_in_slices(parts)[1]:
        assert sum(Fraction(share.amount) for share in adjustment.devices) == Fraction(adjustment.amount)
        assert adjustment.events == len(adjustment.devices)


@given(slices, st.randoms(use_true_random=False))
def test_what_is_taken_back_leaves_what_was_never_billed(
    parts: list[list[DeviceUsage]], chance: Random
) -> None:
    """Credits in the same slice or later ones end in the price of what is left, and no charge by quantity
    ever falls below 0; a device that sent something stays an active one."""
    taken = [(number, usage) for number, part in enumerate(parts) for usage in part if chance.random() < 0.5]
    mixed: list[list[DeviceUsage]] = [*parts, []]
    for number, usage in taken:
        place = chance.randint(number, len(parts))
        credit = replace(usage, quantity=usage.quantity.copy_negate())
        if usage.quantity and not any(
            each.alias == credit.alias and each.quantity < 0 for each in mixed[place]
        ):
            mixed[place] = [*mixed[place], credit]
    amounts, found = billed_in_slices(mixed)
    everything = [usage for part in mixed for usage in part]
    for charge in PLAN.charges:
        left = measured(charge, everything, {})
        assert amounts[charge.name] == round_amount(price(charge, left.quantity).exact, "EUR")
        assert amounts[charge.name] >= 0
    for each in found:
        assert sum(Fraction(share.amount) for share in each.devices) == Fraction(each.amount)
        assert len({share.usage.quantity < 0 for share in each.devices}) == 1


def test_crossing_a_volume_tier_late_is_a_credit() -> None:
    first = adjust(LatePeriod("eu-202603", MARCH, PLAN, [], {}, [used("a", Decimal(5))]), {}, "EUR")
    assert {a.charge.name: str(a.amount) for a in first}["volume"] == "25.00"
    booked = {"volume": Decimal(25)}
    late = LatePeriod("eu-202603", MARCH, PLAN, [used("a", Decimal(5))], booked, [used("b", Decimal(1))])
    found = {a.charge.name: a for a in adjust(late, {"messages": "message"}, "EUR")}
    assert (str(found["volume"].amount), str(found["volume"].exact)) == ("-4.00", "-4.0")
    assert [str(share.amount) for share in found["volume"].devices] == ["-4.00"]
    assert (found["volume"].unit, found["devices"].unit) == ("message", "devices")


def test_a_device_that_was_active_already_costs_no_second_time() -> None:
    late = LatePeriod(
        "eu-202603",
        MARCH,
        PLAN,
        [used("a", Decimal(1))],
        {"devices": Decimal("1.26")},
        [used("a", Decimal(1)), used("b", Decimal(1))],
    )
    devices = {a.charge.name: a for a in adjust(late, {}, "EUR")}["devices"]
    assert (devices.quantity, str(devices.amount)) == (Decimal(1), "1.25")
    assert [str(share.amount) for share in devices.devices] == ["0.00", "1.25"]


def test_a_metric_without_a_charge_is_no_adjustment() -> None:
    energy = DeviceUsage("a", "energy", Decimal(1), 1, MARCH.start, MARCH.start)
    assert adjust(LatePeriod("eu-202603", MARCH, PLAN, [], {}, [energy]), {}, "EUR") == ()
