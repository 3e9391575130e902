"""Lateness: decisions depend on R, the period and the contract alone, and never skip an event."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_rules.calendar import Calendar, contract_period
from fleetmeter_rules.contracts import Terms
from fleetmeter_rules.lateness import Action, decide

MICROS = st.integers(0, 400 * 86_400 * 10**6)
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
policies: st.SearchStrategy[LateUsagePolicy] = st.sampled_from(["Grace", "Defer", "Reopen"])
graces = st.sampled_from([timedelta(0), timedelta(hours=48), timedelta(hours=72), timedelta(days=40)])
zones = st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe"])


@given(MICROS, MICROS, policies, graces, zones, st.integers(1, 31))
def test_an_event_goes_to_its_own_period_unless_it_came_after_the_cut_off(
    happened: int, delay: int, policy: LateUsagePolicy, grace: timedelta, zone: str, anchor: int
) -> None:
    event_at = EPOCH + timedelta(microseconds=happened)
    received_at = event_at + timedelta(microseconds=delay)
    terms = Terms("c", "acme", "p", Calendar(zone, "Month", anchor), EPOCH, None, grace, policy)
    own = terms.period_of(event_at)
    found = decide(received_at, own, terms.cut_off(own), policy)
    assert found.late == (received_at >= own.end)
    if received_at - own.end < grace:
        assert found.action is Action.OWN_PERIOD
        assert found.reason is None
        return
    assert (
        found.action is {"Grace": Action.QUARANTINE, "Defer": Action.DEFER, "Reopen": Action.REOPEN}[policy]
    )
    assert (found.reason == "late_after_final") == (policy == "Grace")
    if found.action is Action.DEFER:
        target = terms.period_of(received_at)
        assert target.start >= own.end
        assert decide(received_at, target, terms.cut_off(target), policy).action is Action.OWN_PERIOD


@given(MICROS, policies, graces)
def test_no_later_receipt_makes_an_event_less_late(
    received: int, policy: LateUsagePolicy, grace: timedelta
) -> None:
    own = contract_period(EPOCH, Calendar())
    received_at = EPOCH + timedelta(microseconds=received)
    now = decide(received_at, own, own.end + grace, policy)
    later = decide(received_at + timedelta(microseconds=1), own, own.end + grace, policy)
    assert now.late <= later.late
    assert (now.action is Action.OWN_PERIOD) >= (later.action is Action.OWN_PERIOD)


@given(MICROS, policies)
def test_a_sealed_period_takes_nothing(received: int, policy: LateUsagePolicy) -> None:
    own = contract_period(EPOCH, Calendar())
    received_at = EPOCH + timedelta(microseconds=received)
    found = decide(received_at, own, own.end, policy, sealed=True)
    assert found.action is not Action.OWN_PERIOD
    assert found.late
    assert found.clock_stepped == (received_at < own.end)
