"""The periods that a calendar makes, and the documents that a close prices by."""

from collections.abc import Callable
from datetime import UTC, datetime

from fleetmeter_operator.build.periods import build_periods
from fleetmeter_operator.build.plans import current_documents
from fleetmeter_operator.build.site import Site

Build = Callable[..., Site]


def made(site: Site, until: datetime) -> list[tuple[str, str, str]]:
    return [
        (each["metadata"]["name"], each["spec"]["start"], each["spec"]["end"])
        for each in build_periods(site, until)
    ]


def test_every_period_up_to_the_present_one_is_made_oldest_first(site: Build) -> None:
    names = [name for name, _, _ in made(site(), datetime(2024, 2, 1, tzinfo=UTC))]
    assert names == [*(f"eu-2023{month:02}" for month in range(1, 13)), "eu-202401", "eu-202402"]


def test_a_region_that_has_ended_makes_no_more(site: Build) -> None:
    ended = site(calendar={"firstPeriod": "2023-01-01", "lastPeriod": "2023-02-01"})
    assert [name for name, _, _ in made(ended, datetime(2030, 1, 1, tzinfo=UTC))] == [
        "eu-202301",
        "eu-202302",
    ]


def test_bounds_follow_the_zone_and_the_anchor(site: Build) -> None:
    calendar = {"firstPeriod": "2023-01-31", "timeZone": "Europe/Paris", "anchorDay": 31}
    found = made(site(calendar=calendar), datetime(2023, 4, 1, tzinfo=UTC))
    assert found == [
        ("eu-202301", "2023-01-30T23:00:00Z", "2023-02-27T23:00:00Z"),
        ("eu-202302", "2023-02-27T23:00:00Z", "2023-03-30T22:00:00Z"),
        ("eu-202303", "2023-03-30T22:00:00Z", "2023-04-29T22:00:00Z"),
    ]


def test_the_cut_off_is_the_end_and_its_grace_and_people_own_the_rest(site: Build) -> None:
    (period,) = build_periods(site(), datetime(2023, 1, 5, tzinfo=UTC))
    assert period["spec"] == {
        "regionName": "eu",
        "start": "2023-01-01T00:00:00Z",
        "end": "2023-02-01T00:00:00Z",
        "cutOff": "2023-02-04T00:00:00Z",
    }


def document(plan: str, name: str, made_at: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {"fleetmeter.io/plan": plan}, "creationTimestamp": made_at}}


def test_a_plan_is_priced_by_its_present_document_and_a_deleted_one_by_its_newest() -> None:
    published = [
        document("a", "plan-a-1", "2023-01-01T00:00:00Z"),
        document("a", "plan-a-2", "2023-02-01T00:00:00Z"),
        document("b", "plan-b-1", "2023-01-01T00:00:00Z"),
        document("b", "plan-b-2", "2023-02-01T00:00:00Z"),
    ]
    assert current_documents(published, {"a": "plan-a-1"}) == ["plan-a-1", "plan-b-2"]
    assert current_documents(published, {}) == ["plan-a-2", "plan-b-2"]
