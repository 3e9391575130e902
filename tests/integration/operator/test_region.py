"""A BillingRegion on a real API server: made, kept, given up, whatever happens in between."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleetmeter_cluster.progress import await_true

Region = Callable[..., dict[str, Any]]
PARTS = ["eu-api", "eu-consumer", "eu-gateway"]
CLAIMS = ["data-eu-kafka-0", "data-eu-mosquitto-0", "data-eu-postgres-0"]
SECRETS = ["eu-kafka-auth", "eu-mqtt-auth", "eu-postgres-auth"]
PERIODS = ["202301", "202302", "202303"]
HANG_SECONDS = 18
"""Longer than the operator lets one request take."""
COLLECTED_SECONDS = 120
"""The garbage collector takes its time on a busy machine."""


@pytest.fixture
def ready(lasting: Any, region: Region) -> Any:
    """A site with region eu, ready, its three periods final; shared, with the region made anew if gone."""
    if lasting.process is None:
        lasting.report("eu", *PERIODS)
        lasting.start_operator()
    if lasting.get("BillingRegion", "eu") is None:
        lasting.create(region())

    def up() -> bool:
        live = lasting.get("BillingRegion", "eu")
        status = live.get("status", {})
        seen = status.get("observedGeneration") == live["metadata"]["generation"]
        return seen and (status["phase"], status.get("finalPeriods")) == ("Ready", 3)

    await_true(lambda: lasting.phases() == ["Final"] * 3, "the periods to be final", 60)
    await_true(up, "the region to be ready and to say so")
    return lasting


@contextlib.contextmanager
def stopped(site: Any) -> Iterator[None]:
    """What happens inside, the operator hears of afterwards."""
    site.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        site.process.send_signal(signal.SIGCONT)


def versions(site: Any, kind: str, names: list[str]) -> list[str]:
    return [site.get(kind, name)["metadata"]["uid"] for name in names]


def test_a_region_comes_up_with_all_its_parts(ready: Any) -> None:
    assert ready.names("Deployment") == PARTS
    assert ready.names("StatefulSet") == ["eu-kafka", "eu-mosquitto", "eu-postgres"]
    assert ready.names("PersistentVolumeClaim") == CLAIMS
    assert ready.names("Secret") == SECRETS
    assert len(ready.names("NetworkPolicy")) == 9
    assert len(ready.names("PodDisruptionBudget")) == 6
    assert ready.condition("BillingRegion", "eu", "Ready")[:2] == ("True", "AllPartsReady")
    assert ready.get("BillingRegion", "eu")["metadata"].get("finalizers") is None


def test_it_never_reads_a_secret_and_needs_no_verb_more_than_its_role(ready: Any) -> None:
    asked = set(ready.plane.audited(ready.namespace))
    assert {verb for verb, resource in asked if resource == "secrets"} == {"create"}
    assert ready.plane.forbidden(ready.namespace) == []


def test_five_rounds_of_a_steady_region_write_nothing(ready: Any) -> None:
    rest(ready)
    before, rounds = len(ready.writes()), ready.rounds()
    await_true(lambda: ready.rounds() >= rounds + 5, "five more rounds", 60)
    assert ready.writes()[before:] == []
    assert ready.resident() <= 160


def rest(site: Any) -> None:
    """Wait until a whole round of every kind passed without a write."""

    def quiet() -> bool:
        before, rounds = len(site.writes()), site.rounds("BillingPeriod")
        await_true(lambda: site.rounds("BillingPeriod") > rounds, "a round", 30)
        return len(site.writes()) == before

    await_true(quiet, "a quiet round", 60)


CHILDREN = {
    "Deployment": "eu-consumer",
    "StatefulSet": "eu-kafka",
    "Service": "eu-gateway",
    "ConfigMap": "eu-config",
    "NetworkPolicy": "eu-default-deny",
    "PodDisruptionBudget": "eu-api",
    "BillingPeriod": "eu-202302",
}


def test_deleted_children_come_back(ready: Any) -> None:
    old = {kind: ready.get(kind, name)["metadata"]["uid"] for kind, name in CHILDREN.items()}
    for kind, name in CHILDREN.items():
        ready.delete(kind, name)
    for kind, name in CHILDREN.items():
        await_true(
            lambda of=kind, called=name: (
                (ready.get(of, called) or {"metadata": {"uid": old[of]}})["metadata"]["uid"] != old[of]
            ),
            f"{kind} {name} to be back",
        )
    await_true(lambda: ready.phases() == ["Final"] * 3, "the period to be final again")


def test_drift_is_put_back_and_a_strangers_field_stays(ready: Any) -> None:
    ready.patch("Deployment", "eu-consumer", {"spec": {"replicas": 0}})
    ready.patch("Service", "eu-kafka", {"spec": {"selector": {"app.kubernetes.io/component": "x"}}})
    ready.patch(
        "ConfigMap", "eu-config", {"data": {"region.json": "{}"}, "metadata": {"labels": {"theirs": "1"}}}
    )
    await_true(lambda: ready.get("Deployment", "eu-consumer")["spec"]["replicas"] == 1, "replicas")
    await_true(lambda: ready.get("ConfigMap", "eu-config")["data"]["region.json"] != "{}", "region.json")

    def selector() -> str:
        return ready.get("Service", "eu-kafka")["spec"]["selector"]["app.kubernetes.io/component"]

    await_true(lambda: selector() == "kafka", "the selector")
    assert ready.get("ConfigMap", "eu-config")["metadata"]["labels"]["theirs"] == "1"


def test_a_restart_changes_nothing(ready: Any) -> None:
    rest(ready)
    before = len(ready.writes())
    for how, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        assert ready.stop_operator(how) == code
        ready.start_operator()
        await_true(lambda: ready.rounds() >= 3, "rounds after the restart")
    assert ready.writes()[before:] == []


def test_a_changed_spec_rolls_the_workers_and_migrates_anew(ready: Any) -> None:
    def config_hash() -> str:
        template = ready.get("Deployment", "eu-consumer")["spec"]["template"]
        return template["metadata"]["annotations"]["fleetmeter.io/config-hash"]

    old, jobs = config_hash(), ready.names("Job", "app.kubernetes.io/component=migrate")
    ready.patch("BillingRegion", "eu", {"spec": {"consumers": {"replicas": 3}, "mqtt": {"type": "None"}}})
    await_true(lambda: config_hash() != old, "the workers to roll")
    await_true(lambda: "eu-mosquitto" not in ready.names("StatefulSet"), "mosquitto to go")
    new = [name for name in ready.names("Job", "app.kubernetes.io/component=migrate") if name not in jobs]
    assert len(new) == 1
    await_true(lambda: ready.phase("BillingRegion", "eu") == "Ready", "the region to be ready again")
    assert ready.names("PersistentVolumeClaim") == CLAIMS


def test_a_volume_that_should_grow_is_told_and_the_region_goes_on(ready: Any) -> None:
    ready.patch("BillingRegion", "eu", {"spec": {"broker": {"embedded": {"storage": "2Gi"}}}})
    kind = ("BillingRegion", "eu", "VolumesAsSpecified")
    await_true(lambda: ready.condition(*kind)[:2] == ("False", "VolumeCannotFollow"), "the condition")
    await_true(lambda: ready.phase("BillingRegion", "eu") == "Ready", "the region to be ready")


def test_a_lost_secret_is_told_and_never_made_anew(ready: Any) -> None:
    lost = ready.get("Secret", "eu-kafka-auth")
    ready.delete("Secret", "eu-kafka-auth")
    ready.starved.add("kafka")
    ready.delete("Pod", "eu-kafka-0")
    kind = ("BillingRegion", "eu", "CredentialsMissing")
    await_true(lambda: ready.condition(*kind)[0] == "True", "the condition")
    assert "eu-kafka-auth" in ready.condition(*kind)[2]
    assert ready.phase("BillingRegion", "eu") == "Stalled"
    assert "eu-kafka-auth" not in ready.names("Secret")
    ready.create({"kind": "Secret", "metadata": {"name": "eu-kafka-auth"}, "data": lost["data"]})
    ready.starved.clear()
    await_true(lambda: ready.phase("BillingRegion", "eu") == "Ready", "the region, given the Secret back")


def test_retain_while_down_keeps_the_data_and_adopts_it_again(ready: Any, region: Region) -> None:
    kept = versions(ready, "PersistentVolumeClaim", CLAIMS), versions(ready, "Secret", SECRETS)
    ready.stop_operator()
    ready.delete("BillingRegion", "eu")
    await_true(lambda: ready.get("BillingRegion", "eu") is None, "the region to go without the operator")
    await_true(
        lambda: not ready.names("StatefulSet") and not ready.names("BillingPeriod"),
        "its children to go",
        COLLECTED_SECONDS,
    )
    ready.start_operator()
    ready.create(region())
    await_true(lambda: ready.phase("BillingRegion", "eu") == "Ready", "the region to be ready again")
    await_true(lambda: ready.phases() == ["Final"] * 3, "the periods to be final again")
    assert (versions(ready, "PersistentVolumeClaim", CLAIMS), versions(ready, "Secret", SECRETS)) == kept
    assert not ready.names("Job", "app.kubernetes.io/component=close")


def test_delete_while_down_takes_everything_once_it_is_back(ready: Any) -> None:
    ready.patch("BillingRegion", "eu", {"spec": {"deletionPolicy": "Delete"}})
    await_true(lambda: ready.get("BillingRegion", "eu")["metadata"].get("finalizers"), "the finalizer")
    ready.stop_operator()
    ready.delete("BillingRegion", "eu")
    assert ready.get("BillingRegion", "eu")["metadata"]["deletionTimestamp"]
    ready.start_operator()
    await_true(lambda: ready.get("BillingRegion", "eu") is None, "the region to go", 60)
    await_nothing_left(ready)


@pytest.mark.parametrize("how", ["Background", "Foreground"])
def test_delete_in_the_moment_of_the_deletion_takes_everything_as_well(ready: Any, how: str) -> None:
    with stopped(ready):
        ready.patch("BillingRegion", "eu", {"spec": {"deletionPolicy": "Delete"}})
        ready.delete("BillingRegion", "eu", how)
        await_true(lambda: ready.get("BillingRegion", "eu") is None, "the region to go without the operator")
        assert (ready.names("PersistentVolumeClaim"), ready.names("Secret")) == (CLAIMS, SECRETS)
    await_nothing_left(ready)


def test_a_region_made_anew_in_that_moment_has_the_data(ready: Any, region: Region) -> None:
    kept = versions(ready, "PersistentVolumeClaim", CLAIMS), versions(ready, "Secret", SECRETS)
    with stopped(ready):
        ready.patch("BillingRegion", "eu", {"spec": {"deletionPolicy": "Delete"}})
        ready.delete("BillingRegion", "eu")
        ready.create(region())
    await_true(lambda: ready.phase("BillingRegion", "eu") == "Ready", "the new region to be ready")
    rounds = ready.rounds()
    await_true(lambda: ready.rounds() > rounds + 1, "two more rounds")
    assert (versions(ready, "PersistentVolumeClaim", CLAIMS), versions(ready, "Secret", SECRETS)) == kept


def await_nothing_left(site: Any) -> None:
    kinds = (
        "Secret",
        "PersistentVolumeClaim",
        "StatefulSet",
        "Deployment",
        "Job",
        "BillingPeriod",
        "Service",
    )
    for kind in kinds:
        await_true(lambda of=kind: not site.names(of), f"each {kind} to go", COLLECTED_SECONDS)
    ours = "fleetmeter.io/region=eu"
    await_true(lambda: not site.names("ConfigMap", ours), "each ConfigMap to go", COLLECTED_SECONDS)


def test_bad_regions_are_told_and_stop_no_good_one(site: Any, region: Region) -> None:
    site.report("eu", *PERIODS)
    calendar = {"firstPeriod": "2023-01-01", "timeZone": "Europe/Nowhere"}
    site.create(region("zone", calendar=calendar))
    site.create(region("us", jurisdiction="US"))
    external = {"bootstrapServers": "kafka:9092", "secretName": "kafka"}
    site.create(region("ext", broker={"type": "External", "external": external}))
    site.create(region())
    site.start_operator()
    await_true(lambda: site.phase("BillingRegion", "eu") == "Ready", "the good region to be ready")
    assert site.condition("BillingRegion", "zone", "Stalled")[:2] == ("True", "InvalidSpec")
    assert "time zone" in site.condition("BillingRegion", "zone", "Stalled")[2]
    assert site.condition("BillingRegion", "us", "Stalled")[:2] == ("True", "WrongJurisdiction")
    assert site.condition("BillingRegion", "ext", "Stalled")[:2] == ("True", "EngineNotSupported")
    assert all(
        name.startswith("eu") for kind in ("Deployment", "Secret", "Service") for name in site.names(kind)
    )
    reasons = [
        event["reason"]
        for event in site.every("Event")
        if event["source"]["component"] == "fleetmeter-operator"
    ]
    assert set(reasons) >= {"EngineNotSupported", "InvalidSpec", "WrongJurisdiction"}
    assert site.probe("healthz") == site.probe("readyz") == 200


def test_an_api_server_that_hangs_dies_and_comes_back_is_survived(ready: Any) -> None:
    plane, told = ready.plane, len(ready.log())
    plane.server.send_signal(signal.SIGSTOP)
    hung = time.monotonic() + HANG_SECONDS
    while time.monotonic() < hung:
        assert ready.probe("healthz") == 200
        time.sleep(1)
    plane.server.kill()
    await_true(lambda: "tried 4 times; tried again in" in ready.log()[told:], "a request to be given up")
    assert ready.probe("healthz") == 200
    plane.start()
    ready.delete("Service", "eu-api")
    await_true(lambda: ready.get("Service", "eu-api"), "the operator to work again", 90)
    assert ready.process.poll() is None
