"""Billing periods on a real API server: caught up, closed oldest first, and what a close that fails gets."""

from collections.abc import Callable
from typing import Any

import pytest

from fleetmeter_cluster.progress import await_true

Region = Callable[..., dict[str, Any]]
PERIODS = ["202301", "202302", "202303"]
CLOSES = "app.kubernetes.io/component=close"


def months(count: int) -> dict[str, str]:
    """A calendar of the year's first months, all long over."""
    return {"firstPeriod": "2023-01-01", "lastPeriod": f"2023-{count:02}-01"}


@pytest.fixture
def site(site: Any) -> Any:
    """A site whose region eu reports three sealable periods."""
    site.report("eu", *PERIODS)
    return site


def closes(site: Any) -> list[str]:
    """The close Jobs, in the order in which they were made."""
    jobs = site.every("Job", CLOSES)
    return [
        job["metadata"]["name"]
        for job in sorted(
            jobs, key=lambda job: (job["metadata"]["creationTimestamp"], job["metadata"]["name"])
        )
    ]


def test_months_that_were_missed_are_made_and_closed_oldest_first(site: Any, region: Region) -> None:
    site.start_operator(resync_seconds=300)  # what follows must follow from what was seen
    site.create(region())
    await_true(lambda: site.phases() == ["Final"] * 3, "all periods to be final", 60)
    assert closes(site) == ["eu-202301-close-1", "eu-202302-close-1", "eu-202303-close-1"]
    starts = [each["status"]["startTime"] for each in site.every("Job", CLOSES)]
    ends = [each["status"]["completionTime"] for each in site.every("Job", CLOSES)]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    first = site.get("BillingPeriod", "eu-202301")
    assert first["spec"]["cutOff"] == "2023-02-04T00:00:00Z"
    status = first["status"]
    assert (status["events"], status["duplicates"], status["invoices"], status["attempts"]) == (739, 2, 1, 1)
    conditions = site.get("Job", "eu-202301-close-1")["status"]["conditions"]
    (completed,) = [each for each in conditions if each["type"] == "Complete"]
    assert status["finalAt"] == completed["lastTransitionTime"]
    await_true(
        lambda: site.get("BillingRegion", "eu")["status"].get("finalPeriods") == 3, "the region's count"
    )
    assert site.get("BillingRegion", "eu")["status"]["periods"] == 3
    reasons = [
        event["reason"] for event in site.every("Event") if event["involvedObject"]["kind"] == "BillingPeriod"
    ]
    assert reasons == ["PeriodFinal"] * 3


def test_a_month_that_waits_for_a_person_says_what_to_run_and_holds_no_other(
    site: Any, region: Region
) -> None:
    """The counts are in the status and the columns; once a person has decided, the month closes."""
    told = (
        "5 events may belong to a neighbouring period; run fleetmeter review list --billing-period eu-202301"
    )
    held = site.reports["eu"]["periods"]["eu-202301"]
    held.update(sealable=False, waitingFor="ReviewPending", message=told)
    held.update(boundaryCandidates=12, boundaryUndecided=5, missing=3, silentDevices=1)
    site.start_operator()
    site.create(region(calendar=months(2)))
    await_true(lambda: site.phases() == ["Waiting", "Final"], "the other month to be final", 60)
    assert site.condition("BillingPeriod", "eu-202301", "Ready")[1] == "ReviewPending"
    status = site.get("BillingPeriod", "eu-202301")["status"]
    counts = ("boundaryCandidates", "boundaryUndecided", "missing", "silentDevices", "waitingFor")
    assert [status[name] for name in counts] == [12, 5, 3, 1, "ReviewPending"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["message"]) == ("True", told)
    held.update(sealable=True, waitingFor="", message="")
    await_true(lambda: site.phases() == ["Final"] * 2, "all periods to be final", 60)


def test_a_backfill_and_a_suspension_hold_and_release(site: Any, region: Region) -> None:
    for report in site.reports["eu"]["periods"].values():
        report.update(
            sealable=False, waitingFor="BackfillPending", message="backfill 20230101-20230401 is pending"
        )
    site.start_operator()
    site.create(region(calendar=months(2)))
    ready = ("BillingPeriod", "eu-202301", "Ready")
    await_true(lambda: site.condition(*ready)[1] == "BackfillPending", "the hold to be told")
    assert site.condition("BillingPeriod", "eu-202302", "Ready")[1] == "WaitingForOlder"
    site.patch("BillingPeriod", "eu-202301", {"spec": {"suspend": True}})
    await_true(lambda: site.condition(*ready)[1] == "Suspended", "the suspension to be told")
    for report in site.reports["eu"]["periods"].values():
        report.update(sealable=True, waitingFor="", message="")
    rounds = site.rounds("BillingPeriod")
    await_true(lambda: site.rounds("BillingPeriod") > rounds + 1, "two more rounds")
    assert closes(site) == []
    site.patch("BillingPeriod", "eu-202301", {"spec": {"suspend": False}})
    await_true(lambda: site.phases() == ["Final"] * 2, "all periods to be final", 60)


def test_manual_waits_until_it_is_asked_for(site: Any, region: Region) -> None:
    site.reports["eu"]["periods"]["eu-202301"]["sealable"] = False
    site.start_operator()
    site.create(region(calendar=months(1)))
    await_true(site.phases, "the period")
    site.patch("BillingPeriod", "eu-202301", {"spec": {"close": "Manual"}})
    reason = ("BillingPeriod", "eu-202301", "Ready")
    await_true(lambda: site.condition(*reason)[1] == "CloseNotRequested", "it to wait for a person")
    site.reports["eu"]["periods"]["eu-202301"]["sealable"] = True
    rounds = site.rounds("BillingPeriod")
    await_true(lambda: site.rounds("BillingPeriod") > rounds + 1, "two more rounds")
    assert closes(site) == []
    annotation = {"fleetmeter.io/close-requested": "by finance"}
    site.patch("BillingPeriod", "eu-202301", {"metadata": {"annotations": annotation}})
    await_true(lambda: site.phases() == ["Final"], "the period to be final", 60)
    assert site.get("BillingPeriod", "eu-202301")["spec"]["close"] == "Manual"


def test_a_data_error_is_told_and_a_new_plan_is_another_attempt(
    site: Any, region: Region, plan: Callable[..., dict[str, Any]]
) -> None:
    site.outcomes["eu-202301"] = [65]
    site.start_operator()
    site.create(region(calendar=months(2)))
    await_true(lambda: site.phase("BillingPeriod", "eu-202301") == "Failed", "the failure to be told")
    status, reason, message = site.condition("BillingPeriod", "eu-202301", "Stalled")
    assert (status, reason) == ("True", "DataError")
    assert "plan iot is not there" in message
    assert "kubectl logs job/eu-202301-close-1" in message
    assert site.condition("BillingPeriod", "eu-202302", "Ready")[1] == "WaitingForOlder"
    await_true(lambda: site.phase("BillingRegion", "eu") == "Ready", "the region to be ready all the same")
    rounds = site.rounds("BillingPeriod")
    await_true(lambda: site.rounds("BillingPeriod") > rounds + 2, "rounds that try nothing")
    assert closes(site) == ["eu-202301-close-1"]
    site.create(plan())
    await_true(lambda: site.phases() == ["Final"] * 2, "all periods to be final", 60)
    assert closes(site)[:2] == ["eu-202301-close-1", "eu-202301-close-2"]
    volumes = site.get("Job", "eu-202301-close-2")["spec"]["template"]["spec"]["volumes"]
    mounted = next(volume for volume in volumes if volume["name"] == "plans")
    document = site.get("PricingPlan", "iot")["status"]["configMapName"]
    assert [source["configMap"]["name"] for source in mounted["projected"]["sources"]] == [document]
    assert "CloseFailed" not in site.log()


def test_too_early_is_no_failure_and_is_tried_again(site: Any, region: Region) -> None:
    site.outcomes["eu-202301"] = [75]
    site.start_operator()
    site.create(region(calendar=months(1)))
    reason = ("BillingPeriod", "eu-202301", "Ready")
    await_true(lambda: site.condition(*reason)[1] == "NotYetSealable", "it to wait")
    assert "UsagePending" in site.condition(*reason)[2]
    assert site.condition("BillingPeriod", "eu-202301", "Stalled")[0] == "False"
    await_true(lambda: site.phases() == ["Final"], "the period to be final", 60)
    assert site.get("BillingPeriod", "eu-202301")["status"]["attempts"] == 2


def test_the_ledger_is_the_truth_when_jobs_and_statuses_are_lost(site: Any, region: Region) -> None:
    site.start_operator()
    site.create(region())
    await_true(lambda: site.phases() == ["Final"] * 3, "all periods to be final", 60)
    site.delete("Job", "eu-202302-close-1")
    site.delete("BillingPeriod", "eu-202301")
    await_true(lambda: site.phase("BillingPeriod", "eu-202301") == "Final", "the period to be final again")
    await_true(lambda: site.phases() == ["Final"] * 3, "all periods to be final")
    assert closes(site) == ["eu-202303-close-1"]


def test_a_period_outside_the_calendar_is_told_and_left_alone(site: Any, region: Region) -> None:
    site.start_operator()
    site.create(region(calendar=months(1)))
    body: dict[str, Any] = {
        "apiVersion": "fleetmeter.io/v1alpha1",
        "kind": "BillingPeriod",
        "metadata": {"name": "eu-202112"},
        "spec": {"regionName": "eu", "start": "2021-12-01T00:00:00Z", "end": "2022-01-01T00:00:00Z"},
    }
    site.create(body)
    site.create({**body, "metadata": {"name": "zz-202112"}, "spec": {**body["spec"], "regionName": "zz"}})
    await_true(
        lambda: site.condition("BillingPeriod", "eu-202112", "Stalled")[1] == "NotInCalendar", "NotInCalendar"
    )
    await_true(
        lambda: site.condition("BillingPeriod", "zz-202112", "Stalled")[1] == "RegionNotFound",
        "RegionNotFound",
    )
    await_true(lambda: site.phases().count("Final") == 1, "the calendar's own to be final", 60)
