"""Contracts: at most one binds a customer, versions are what was known, and every event finds its period."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.contract import Contract
from fleetmeter_rules.calendar import Calendar
from fleetmeter_rules.contracts import Defaults, Version, binding, overlaps, terms_of, version_at

REGION = Defaults(Calendar("Europe/Paris"), timedelta(hours=72), "Grace")
ORIGIN = date(2023, 1, 1)


@st.composite
def contracts(draw: st.DrawFn) -> list[Contract]:
    out: list[Contract] = []
    for number in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, 300))
        length = draw(st.none() | st.integers(1, 200))
        customer = {"code": draw(st.sampled_from(["acme", "bolt"])), "name": "N", "address": ["A"]}
        given_: dict[str, object] = {"contract": f"C-{number}", "customer": customer, "plan": "p"}
        given_["validFrom"] = ORIGIN + timedelta(days=start)
        given_["validTo"] = None if length is None else ORIGIN + timedelta(days=start + length)
        out.append(Contract.model_validate(given_))
    return out


@given(contracts())
def test_overlaps_are_the_pairs_that_share_a_day(found: list[Contract]) -> None:
    def days(contract: Contract) -> set[int]:
        end = (contract.valid_to or date(2030, 1, 1)).toordinal()
        return set(range(contract.valid_from.toordinal(), end))

    shared = {
        frozenset((one.contract, other.contract))
        for one in found
        for other in found
        if one.contract != other.contract
        and one.customer.code == other.customer.code
        and days(one) & days(other)
    }
    assert {frozenset((pair.first, pair.second)) for pair in overlaps(found)} == shared


@given(contracts(), st.integers(-10, 600), st.sampled_from(["acme", "bolt"]))
def test_without_overlaps_one_contract_binds_or_none(found: list[Contract], day: int, customer: str) -> None:
    if overlaps(found):
        return
    terms = [terms_of(contract, REGION) for contract in found]
    instant = datetime(2023, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    holding = [t.contract for t in terms if t.customer == customer and t.in_force(instant)]
    assert len(holding) <= 1
    bound = binding(terms, customer, instant)
    assert ([] if bound is None else [bound.contract]) == holding
    if bound is not None:
        own = bound.period_of(instant)
        assert instant in own
        assert own in bound.periods(instant)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).map(sorted), st.integers(-5, 60))
def test_a_version_counts_from_when_it_was_loaded(loads: list[int], day: int) -> None:
    origin = datetime(2026, 1, 1, tzinfo=UTC)
    one = Contract.model_validate(
        {
            "contract": "C",
            "customer": {"code": "acme", "name": "N", "address": ["A"]},
            "plan": "p",
            "validFrom": ORIGIN,
        }
    )
    versions = [Version(n, origin + timedelta(days=load), one) for n, load in enumerate(loads)]
    known = [n for n, load in enumerate(loads) if load <= day]
    assert version_at(versions, origin + timedelta(days=day)).number == (known[-1] if known else 0)
