"""A region's status: which condition tells what, and which change is worth an Event."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fleetmeter_api.region import BillingRegionStatus
from fleetmeter_operator.build.site import Site
from fleetmeter_operator.status.announcement import announcements
from fleetmeter_operator.status.condition import find
from fleetmeter_operator.status.observed import JobState, Workload, exit_code, last_words, missing_secrets
from fleetmeter_operator.status.region import RegionFacts, coarse, region_status, stalled_status
from fleetmeter_operator.status.report import RegionReport

Build = Callable[..., Site]
NOW, LATER = datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 2, tzinfo=UTC)
PARTS = ("kafka", "postgres", "mosquitto", "gateway", "consumer", "api")
REPORT = RegionReport.model_validate(
    {"contracts": {"loaded": 2}, "consumer": {"lag": 12345}, "plansInUse": ["a"]}
)


def facts(*down: str, **changes: Any) -> RegionFacts:
    workloads = {
        part: Workload(part not in down, "0 of 1 pods ready" if part in down else "1 of 1") for part in PARTS
    }
    given: dict[str, Any] = {"migration": JobState.SUCCEEDED, "report": REPORT, **changes}
    return RegionFacts(workloads=workloads, **given)


def tell(
    site: Site, seen: RegionFacts, old: dict[str, Any] | None = None, now: datetime = NOW
) -> dict[str, Any]:
    status = region_status(site, seen, old or {}, 3, now)
    BillingRegionStatus.model_validate({key: value for key, value in status.items() if value is not None})
    return status


def told(status: dict[str, Any], kind: str) -> tuple[str, str]:
    condition = find(status["conditions"], kind)
    return condition["status"], condition["reason"]


def test_all_parts_make_a_ready_region(site: Build) -> None:
    status = tell(site(), facts())
    assert status["phase"] == "Ready"
    assert told(status, "Ready") == ("True", "AllPartsReady")
    assert (status["contracts"], status["plans"], status["lag"]) == (2, 1, 12000)
    assert tell(site(suspend=True), facts())["phase"] == "Suspended"


@pytest.mark.parametrize(
    ("seen", "kind", "reason"),
    [
        (facts("kafka"), "BrokerReady", "PodsNotReady"),
        (facts("postgres"), "StoreReady", "PodsNotReady"),
        (facts(migration=JobState.RUNNING), "StoreReady", "Migrating"),
        (facts(migration=JobState.FAILED), "StoreReady", "MigrationFailed"),
        (facts("mosquitto"), "MqttReady", "PodsNotReady"),
        (facts("consumer"), "WorkersReady", "PodsNotReady"),
    ],
)
def test_a_part_that_is_not_ready_is_named(site: Build, seen: RegionFacts, kind: str, reason: str) -> None:
    status = tell(site(), seen)
    assert told(status, kind) == ("False", reason)
    assert told(status, "Ready") == ("False", reason)
    assert (told(status, "Reconciling")[0], told(status, "Stalled")[0]) == ("True", "False")


def test_what_a_person_must_mend_stalls(site: Build) -> None:
    status = tell(site(), facts(missing_secrets=["eu-kafka-auth"]))
    assert told(status, "Stalled") == ("True", "CredentialsMissing")
    assert "eu-kafka-auth" in find(status["conditions"], "CredentialsMissing")["message"]
    refused = tell(site(), facts(refusals=["StatefulSet eu-kafka was refused (Invalid): storage"]))
    assert told(refused, "Stalled") == ("True", "ApplyRefused")


def test_refused_contracts_and_an_open_backfill_are_told_and_stall_nothing(site: Build) -> None:
    report = RegionReport.model_validate(
        {
            "contracts": {
                "loaded": 1,
                "refused": [{"position": 2, "sha256": "ab12cd34", "reason": "plan: missing"}],
            },
            "backfill": {"id": "20230101-20230201", "state": "pending"},
        }
    )
    status = tell(site(), facts(report=report))
    assert told(status, "ContractsValid") == ("False", "ContractsRefused")
    assert (
        "file 2 (sha256 ab12cd34): plan: missing" in find(status["conditions"], "ContractsValid")["message"]
    )
    assert told(status, "BackfillPending") == ("True", "BackfillOpen")
    assert status["phase"] == "Ready"


def test_a_silent_region_keeps_its_counts(site: Build) -> None:
    before = tell(site(), facts())
    after = tell(site(), facts(report=None), before)
    assert (after["contracts"], after["lag"]) == (2, 12000)
    assert told(after, "ContractsValid") == ("Unknown", "StatusUnavailable")


def test_a_transition_time_moves_only_when_the_status_does(site: Build) -> None:
    first = tell(site(), facts("kafka"))
    second = tell(site(), facts("consumer"), first, LATER)
    third = tell(site(), facts(), second, LATER)
    times = [find(each["conditions"], "Ready")["lastTransitionTime"] for each in (first, second, third)]
    assert times == ["2023-01-01T00:00:00Z", "2023-01-01T00:00:00Z", "2023-01-02T00:00:00Z"]
    assert tell(site(), facts(), third, datetime(2024, 1, 1, tzinfo=UTC)) == third


def test_events_are_few_and_never_repeat(site: Build) -> None:
    stalled = stalled_status("InvalidSpec", "mend it", {}, 1, NOW)
    assert [each.reason for each in announcements({}, stalled)] == ["InvalidSpec"]
    assert announcements(stalled, stalled_status("InvalidSpec", "mend it", stalled, 2, LATER)) == []
    assert announcements({}, tell(site(), facts("kafka"))) == []


@pytest.mark.parametrize(("lag", "shown"), [(0, 0), (7, 7), (99, 99), (101, 100), (98765, 98000)])
def test_a_lag_is_told_to_two_digits(lag: int, shown: int) -> None:
    assert coarse(lag) == shown


def pod(owner: str, **state: Any) -> dict[str, Any]:
    return {
        "metadata": {"ownerReferences": [{"uid": owner}]},
        "status": {"containerStatuses": [{"state": state}]},
    }


def test_a_jobs_end_is_read_from_its_own_last_pod() -> None:
    pods = [
        pod("j", terminated={"exitCode": 1, "finishedAt": "2023-01-01T00:00:00Z"}),
        pod(
            "j", terminated={"exitCode": 65, "finishedAt": "2023-01-01T00:01:00Z", "message": "no\nplan\x00"}
        ),
        pod("other", terminated={"exitCode": 75, "finishedAt": "2023-01-01T00:02:00Z"}),
    ]
    job = {"metadata": {"uid": "j"}}
    assert exit_code(job, pods) == 65
    assert last_words(job, pods) == "no plan"
    message = "Container close for pod fleet/x failed with exit code 75 matching FailJob rule at index 0"
    condition = {"type": "Failed", "status": "True", "message": message}
    assert exit_code({"metadata": {"uid": "k"}, "status": {"conditions": [condition]}}, pods) == 75


def test_a_missing_secret_is_read_from_a_waiting_pod() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "eu-kafka-auth" not found'}
    other = {"reason": "ImagePullBackOff", "message": 'secret "pull" not found'}
    assert missing_secrets([pod("x", waiting=waiting), pod("x", waiting=other)]) == ["eu-kafka-auth"]
