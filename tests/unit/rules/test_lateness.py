"""Lateness: the article's dates, at and around each edge."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.lateness import Action, Decision, decide

MARCH = Bounds(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), date(2026, 3, 1))
CUT_OFF = datetime(2026, 4, 4, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
AFTER: dict[LateUsagePolicy, Decision] = {
    "Grace": Decision(Action.QUARANTINE, True, "late_after_final"),
    "Defer": Decision(Action.DEFER, True),
    "Reopen": Decision(Action.REOPEN, True),
}


@pytest.mark.parametrize("policy", ["Grace", "Defer", "Reopen"])
def test_received_by_the_cut_off_is_its_own_period(policy: LateUsagePolicy) -> None:
    assert decide(MARCH.end - MICROSECOND, MARCH, CUT_OFF, policy) == Decision(Action.OWN_PERIOD, False)
    assert decide(MARCH.end, MARCH, CUT_OFF, policy) == Decision(Action.OWN_PERIOD, True)
    assert decide(CUT_OFF - MICROSECOND, MARCH, CUT_OFF, policy) == Decision(Action.OWN_PERIOD, True)


@pytest.mark.parametrize("policy", ["Grace", "Defer", "Reopen"])
def test_received_at_the_cut_off_or_later_is_the_policys(policy: LateUsagePolicy) -> None:
    assert decide(CUT_OFF, MARCH, CUT_OFF, policy) == AFTER[policy]
    assert decide(CUT_OFF + timedelta(days=400), MARCH, CUT_OFF, policy) == AFTER[policy]


@pytest.mark.parametrize("policy", ["Grace", "Defer", "Reopen"])
def test_a_clock_that_stepped_back_over_a_seal_makes_late_usage(policy: LateUsagePolicy) -> None:
    found = decide(CUT_OFF - MICROSECOND, MARCH, CUT_OFF, policy, sealed=True)
    assert found.clock_stepped and found.late
    assert found.action is AFTER[policy].action
    assert not decide(CUT_OFF, MARCH, CUT_OFF, policy, sealed=True).clock_stepped


def test_without_grace_defer_is_the_articles_second_option() -> None:
    assert decide(MARCH.end - MICROSECOND, MARCH, MARCH.end, "Defer").action is Action.OWN_PERIOD
    assert decide(MARCH.end, MARCH, MARCH.end, "Defer").action is Action.DEFER
