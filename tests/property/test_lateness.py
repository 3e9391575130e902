"""Lateness: decisions depend on R, the period and the contract alone, and never skip an event."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_rules.calendar import Calendar, contract_period
from fleetmeter_rules.contracts import Terms
from fleetmeter_rules.lateness import Action, amendment, decide

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


@given(MICROS, MICROS, graces, zones, st.integers(1, 31), st.integers(1, 4))
def test_an_amendment_comes_with_the_invoice_of_the_period_of_receipt(
    happened: int, delay: int, grace: timedelta, zone: str, anchor: int, sealed: int
) -> None:
    """What is received in the n-th period after its own is revision n + 1, due at that period's cut-off, so
    later receipt never means an earlier revision; what is sealed already takes nothing."""
    calendar = Calendar(zone, "Month", anchor)
    own = contract_period(EPOCH + timedelta(microseconds=happened), calendar)
    received_at = max(own.end + grace, own.end + timedelta(microseconds=delay))
    found = amendment(own, received_at, calendar, grace)
    of_receipt = contract_period(received_at, calendar)
    assert found.due_at == of_receipt.end + grace > received_at
    assert found.revision == 1 + round((of_receipt.start - own.start) / timedelta(days=30.44))
    later = amendment(own, of_receipt.end, calendar, grace)
    assert (later.revision, later.due_at > found.due_at) == (found.revision + 1, True)
    after = amendment(own, received_at, calendar, grace, sealed)
    assert after.revision == max(found.revision, sealed + 1)
    assert (after.due_at > found.due_at) == (sealed >= found.revision)


@given(st.sampled_from(["Europe/Paris", "UTC", "America/Los_Angeles"]), st.integers(-5, 5))
def test_march_with_72_hours_is_final_on_4_april_at_midnight_and_not_before(zone: str, micros: int) -> None:
    terms = Terms("c", "acme", "p", Calendar(zone), EPOCH, None, timedelta(hours=72), "Grace")
    march = terms.period_of(datetime(2026, 3, 15, tzinfo=UTC))
    edge = datetime(2026, 4, 4, tzinfo=ZoneInfo(zone))
    assert terms.cut_off(march) == edge
    found = decide(edge + timedelta(microseconds=micros), march, terms.cut_off(march), "Grace")
    assert found.action is (Action.OWN_PERIOD if micros < 0 else Action.QUARANTINE)
