"""What is done about a period, moment by moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetmeter_api.period import BillingPeriodSpec
from fleetmeter_operator.status.announcement import announcements
from fleetmeter_operator.status.close import Attempt, PeriodFacts, decide
from fleetmeter_operator.status.observed import JobState
from fleetmeter_operator.status.period import period_status
from fleetmeter_operator.status.report import PeriodReport

START, END = datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 2, 1, tzinfo=UTC)
CUT_OFF = datetime(2023, 2, 4, tzinfo=UTC)
AFTER = datetime(2023, 2, 10, tzinfo=UTC)
SEALABLE = PeriodReport(contract_periods=2, open=2, events=739, sealable=True)
FINAL = PeriodReport(contract_periods=2, final=2, events=739, invoices=2)


def facts(**changes: Any) -> PeriodFacts:
    spec = BillingPeriodSpec(region_name="eu", start=START, end=END, cut_off=CUT_OFF)
    return replace(
        PeriodFacts(
            name="eu-202301",
            spec=spec.model_copy(update=changes.pop("spec", {})),
            report=SEALABLE,
            answered=True,
            attempts=(),
            was_final=False,
            older=None,
            suspended=False,
            requested=False,
            inputs="now",
            plans_published=True,
        ),
        **changes,
    )


def attempt(state: JobState, **changes: Any) -> Attempt:
    return replace(Attempt(1, state, "now", None, AFTER - timedelta(seconds=1)), **changes)


def failed(code: int | None, **changes: Any) -> Attempt:
    return attempt(JobState.FAILED, exit_code=code, **changes)


@pytest.mark.parametrize(
    ("now", "phase", "look_again"),
    [
        (START - timedelta(seconds=1), "Pending", START),
        (START, "Open", END),
        (END - timedelta(seconds=1), "Open", END),
        (END, "Grace", CUT_OFF),
        (CUT_OFF - timedelta(microseconds=1), "Grace", CUT_OFF),
    ],
)
def test_time_alone_decides_before_the_cut_off(now: datetime, phase: str, look_again: datetime) -> None:
    decision = decide(facts(), now)
    assert (decision.phase, decision.look_again, decision.start) == (phase, look_again, False)


def test_a_final_ledger_waits_for_the_job_that_made_it_so() -> None:
    running = facts(report=FINAL, attempts=(attempt(JobState.RUNNING),))
    decision = decide(running, AFTER)
    assert (decision.phase, decision.start) == ("Closing", False)
    assert decide(replace(running, was_final=True), AFTER).phase == "Final"
    assert decide(replace(running, attempts=(attempt(JobState.SUCCEEDED),)), AFTER).phase == "Final"
    assert decide(replace(running, attempts=(failed(1),)), AFTER).phase == "Final"


def test_a_final_period_with_an_amendment_due_closes_again() -> None:
    """The report counts it as open then; once it is amended the period is final anew, by another attempt."""
    old = attempt(JobState.SUCCEEDED, ended_at=AFTER - timedelta(days=30))
    due = FINAL.model_copy(update={"open": 1, "final": 1, "sealable": True})
    decision = decide(facts(report=due, was_final=True, attempts=(old,)), AFTER)
    assert (decision.phase, decision.start) == ("Closing", True)
    again = attempt(JobState.SUCCEEDED, number=2)
    amended = facts(report=FINAL.model_copy(update={"invoices": 3}), attempts=(old, again))
    assert decide(amended, AFTER).message == "3 invoices over 739 events"


def test_a_sealable_period_closes_from_the_cut_off_on() -> None:
    decision = decide(facts(), CUT_OFF)
    assert (decision.phase, decision.start) == ("Closing", True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"older": "eu-202212"}, "WaitingForOlder"),
        ({"suspended": True}, "Suspended"),
        ({"spec": {"suspend": True}}, "Suspended"),
        ({"spec": {"close": "Manual"}}, "CloseNotRequested"),
        ({"answered": False, "report": None}, "StatusUnavailable"),
        ({"report": None}, "NotReported"),
        ({"report": PeriodReport(waiting_for="UsagePending")}, "UsagePending"),
        ({"report": PeriodReport()}, "NotSealable"),
        ({"report": PeriodReport(waiting_for="ReviewPending")}, "ReviewPending"),
        ({"plans_published": False}, "PlansPublishing"),
    ],
)
def test_what_keeps_a_period_waiting(changes: dict[str, Any], reason: str) -> None:
    decision = decide(facts(**changes), AFTER)
    assert (decision.phase, decision.reason, decision.start) == ("Waiting", reason, False)
    assert decision.message


@pytest.mark.parametrize("reason", ["ReviewPending", "UsageIncomplete"])
def test_a_period_that_waits_for_a_person_says_what_to_run_and_holds_no_later_one(reason: str) -> None:
    """Whether or not a close found it so a moment ago; the counts of what to look at are in the status."""
    told = "run fleetmeter review list --billing-period eu-202301"
    report = PeriodReport(
        contract_periods=2,
        final=1,
        open=1,
        boundary_candidates=12,
        boundary_undecided=5,
        missing=3,
        silent_devices=1,
        waiting_for=reason,
        message=told,
    )
    for attempts in ((), (failed(75, last_words="ReviewPending: 5 events"),)):
        waits = facts(report=report, attempts=attempts)
        decision = decide(waits, AFTER)
        assert (decision.phase, decision.reason, decision.message) == ("Waiting", reason, told)
        assert not decision.start and not decision.holds_later_ones
        status = period_status(waits, decision, {}, 1, AFTER)
        assert conditions(status)["Ready"] == "True" and conditions(status)["Stalled"] == "False"
        counts = ("boundaryCandidates", "boundaryUndecided", "missing", "silentDevices", "waitingFor")
        assert [status[name] for name in counts] == [12, 5, 3, 1, reason]
        (event,) = announcements({}, status)
        assert (event.reason, event.message, event.warning) == (reason, told, True)
        assert announcements(status, status) == []
    assert decide(facts(report=PeriodReport(waiting_for="UsagePending")), AFTER).holds_later_ones


def test_a_request_closes_a_manual_period() -> None:
    assert decide(facts(spec={"close": "Manual"}, requested=True), AFTER).start


def test_an_attempt_that_runs_is_the_only_one() -> None:
    decision = decide(facts(attempts=[attempt(JobState.RUNNING)]), AFTER)
    assert (decision.phase, decision.start) == ("Closing", False)


def test_a_success_waits_for_the_ledger_to_say_so_and_then_tries_again() -> None:
    succeeded = [attempt(JobState.SUCCEEDED)]
    assert decide(facts(attempts=succeeded), AFTER).reason == "CloseRecorded"
    assert decide(facts(attempts=succeeded), AFTER + timedelta(minutes=1)).start


@pytest.mark.parametrize("now", [START, AFTER])
@pytest.mark.parametrize("attempts", [(), (failed(1),), (attempt(JobState.SUCCEEDED),)])
def test_the_ledger_is_the_truth_about_final(now: datetime, attempts: tuple[Attempt, ...]) -> None:
    decision = decide(facts(report=FINAL, attempts=attempts, suspended=True), now)
    assert (decision.phase, decision.start) == ("Final", False)


def test_final_stays_final_while_nobody_answers() -> None:
    assert decide(facts(report=None, answered=False, was_final=True), AFTER).phase == "Final"


def test_a_period_that_lost_its_finality_in_the_ledger_closes_again() -> None:
    assert decide(facts(was_final=True), AFTER).start


def test_a_period_without_contracts_is_final_after_its_close() -> None:
    empty = PeriodReport(sealable=True)
    assert decide(facts(report=empty), AFTER).start
    done = decide(facts(report=empty, attempts=[attempt(JobState.SUCCEEDED)]), AFTER)
    assert (done.phase, done.reason) == ("Final", "NothingToInvoice")


def test_a_data_error_stands_until_its_inputs_change_or_an_hour_passes() -> None:
    stands = decide(facts(attempts=[failed(65, last_words="plan iot is not there")]), AFTER)
    assert (stands.phase, stands.reason) == ("Failed", "DataError")
    assert "plan iot is not there" in stands.message
    assert decide(facts(attempts=[failed(65)], inputs="other"), AFTER).start
    assert not decide(facts(attempts=[failed(65)]), AFTER + timedelta(minutes=59)).start
    assert decide(facts(attempts=[failed(65)]), AFTER + timedelta(minutes=61)).start


@pytest.mark.parametrize(("number", "seconds"), [(1, 10), (2, 20), (4, 80), (7, 600), (50, 600)])
def test_too_early_is_tried_again_ever_later_with_a_cap(number: int, seconds: int) -> None:
    early = failed(75, number=number, ended_at=AFTER)
    before = decide(facts(attempts=[early]), AFTER + timedelta(seconds=seconds - 1))
    assert (before.phase, before.reason) == ("Waiting", "NotYetSealable")
    assert before.look_again == AFTER + timedelta(seconds=seconds)
    assert decide(facts(attempts=[early]), AFTER + timedelta(seconds=seconds)).start


@pytest.mark.parametrize("code", [None, 1, 137])
def test_a_crash_is_told_and_tried_again(code: int | None) -> None:
    assert decide(facts(attempts=[failed(code)]), AFTER).reason == "CloseCrashed"
    assert decide(facts(attempts=[failed(code)]), AFTER + timedelta(seconds=60)).start


def test_the_newest_attempt_counts() -> None:
    attempts = [failed(65, number=2), failed(75, number=10)]
    assert decide(facts(attempts=attempts), AFTER).reason == "NotYetSealable"


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


@pytest.mark.parametrize(
    ("changes", "now", "wanted"),
    [
        ({}, START, {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Succeeded": "False"}),
        ({}, AFTER, {"Ready": "False", "Reconciling": "True", "Stalled": "False", "Succeeded": "False"}),
        (
            {"older": "eu-202212"},
            AFTER,
            {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Succeeded": "False"},
        ),
        (
            {"report": FINAL},
            AFTER,
            {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Succeeded": "True"},
        ),
        (
            {"attempts": [failed(65)]},
            AFTER,
            {"Ready": "False", "Reconciling": "False", "Stalled": "True", "Succeeded": "False"},
        ),
    ],
)
def test_conditions_suit_tools_that_wait_for_health(
    changes: dict[str, Any], now: datetime, wanted: dict[str, str]
) -> None:
    seen = facts(**changes)
    assert conditions(period_status(seen, decide(seen, now), {}, 1, now)) == wanted


def test_a_status_told_twice_is_the_same() -> None:
    seen = facts(report=FINAL)
    first = period_status(seen, decide(seen, AFTER), {}, 1, AFTER)
    later = AFTER + timedelta(hours=1)
    assert period_status(seen, decide(seen, later), first, 1, later) == first
    assert first["finalAt"] == "2023-02-10T00:00:00Z"


def test_counts_stay_while_nobody_answers() -> None:
    seen = facts(report=None, answered=False)
    status = period_status(seen, decide(seen, AFTER), {"events": 739, "attempts": 4}, 1, AFTER)
    assert (status["events"], status["attempts"], status["jobName"]) == (739, 4, "eu-202301-close-4")
