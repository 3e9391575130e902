"""Contracts: validity in the contract's zone, inheritance, versions, overlaps; ownership and conservation."""

from datetime import UTC, datetime, timedelta

import pytest

from fleetmeter_api.contract import Contract
from fleetmeter_rules.calendar import Calendar
from fleetmeter_rules.conservation import Counters, violations
from fleetmeter_rules.contracts import Defaults, Overlap, Version, binding, overlaps, terms_of, version_at
from fleetmeter_rules.ownership import Binding, owner_at

REGION = Defaults(Calendar("Europe/Paris"), timedelta(hours=72), "Grace")
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def contract(code: str = "C-1", customer: str = "acme", **fields: object) -> Contract:
    party = {"code": customer, "name": "Acme", "address": ["1 rue X"]}
    given = {"contract": code, "customer": party, "plan": "standard", "validFrom": "2023-01-10", **fields}
    return Contract.model_validate(given)


def test_what_a_contract_does_not_say_is_the_regions() -> None:
    terms = terms_of(contract(), REGION)
    assert (terms.calendar, terms.grace, terms.late_usage) == (REGION.calendar, REGION.grace, "Grace")
    own = terms_of(
        contract(timeZone="Asia/Tokyo", anchorDay=15, gracePeriodSeconds=0, lateUsage="Defer"), REGION
    )
    assert own.calendar == Calendar("Asia/Tokyo", "Month", 15)
    assert (own.grace, own.late_usage) == (timedelta(0), "Defer")


def test_validity_is_days_in_the_contracts_zone() -> None:
    terms = terms_of(contract(validTo="2023-03-10"), REGION)
    starts, ends = datetime(2023, 1, 9, 23, tzinfo=UTC), datetime(2023, 3, 9, 23, tzinfo=UTC)
    assert not terms.in_force(starts - MICROSECOND)
    assert terms.in_force(starts)
    assert terms.in_force(ends - MICROSECOND)
    assert not terms.in_force(ends)
    assert binding([terms], "acme", starts) is terms
    assert binding([terms], "other", starts) is None


def test_the_periods_of_a_contract() -> None:
    terms = terms_of(contract(validTo="2023-03-01"), REGION)
    found = terms.periods(datetime(2026, 1, 1, tzinfo=UTC))
    assert [b.first_day.month for b in found] == [1, 2]
    assert [b.first_day.month for b in terms.periods(datetime(2023, 1, 31, 22, tzinfo=UTC))] == [1]
    assert terms.periods(datetime(2023, 1, 1, tzinfo=UTC)) == []
    assert terms.cut_off(found[0]) == datetime(2023, 2, 3, 23, tzinfo=UTC)


def test_the_version_in_force_is_the_last_one_loaded() -> None:
    first = Version(1, datetime(2026, 1, 1, tzinfo=UTC), contract())
    second = Version(2, datetime(2026, 2, 1, tzinfo=UTC), contract(lateUsage="Defer"))
    for order in ([first, second], [second, first]):
        assert version_at(order, second.loaded_at) is second
        assert version_at(order, second.loaded_at - MICROSECOND) is first
        assert version_at(order, datetime(2023, 1, 1, tzinfo=UTC)) is first
    with pytest.raises(ValueError, match="without a version"):
        version_at([], first.loaded_at)


def test_overlaps_are_found_and_neighbours_are_none() -> None:
    a = contract("A", validFrom="2023-01-01", validTo="2023-02-01")
    b = contract("B", validFrom="2023-02-01")
    c = contract("C", validFrom="2023-03-01", validTo="2023-04-01")
    other = contract("D", customer="other", validFrom="2023-01-01")
    assert overlaps([c, other, b, a]) == [Overlap("B", "C", c.valid_from)]
    assert overlaps([a, b, other]) == []


def test_a_device_belongs_to_whom_was_recorded_last_for_the_instant() -> None:
    start, sold = datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 3, 15, tzinfo=UTC)
    bindings = [Binding("seller", start, None, 1), Binding("buyer", sold, None, 2)]
    assert owner_at(bindings, start - MICROSECOND) is None
    assert owner_at(bindings, sold - MICROSECOND) == "seller"
    assert owner_at(bindings, sold) == "buyer"
    assert owner_at([*bindings, Binding("seller", sold, sold + DAY, 3)], sold) == "seller"
    assert owner_at([*bindings, Binding("seller", sold, sold + DAY, 3)], sold + DAY) == "buyer"


def test_conservation_names_what_is_missing() -> None:
    kept = Counters(10, 7, 2, 1, 14, 9, 4, 1)
    assert violations(kept) == []
    assert violations(kept + kept) == []
    assert violations(Counters(10, 7, 2, 0)) == ["10 records, but 9 decoded, not billable or undecodable"]
    assert violations(Counters(1, 1, 0, 0, 2, 1, 0, 0)) == ["2 items, but 1 billed, duplicate or quarantined"]
    assert violations(Counters(records=-1, decoded=-1)) == ["records is negative", "decoded is negative"]
