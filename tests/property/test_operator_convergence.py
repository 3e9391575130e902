"""From any prefix of its writes the operator reaches the same objects, and one more pass writes nothing.

The cluster is a fake in memory. It imitates server-side apply (owned fields replaced, dropped ones removed,
others' kept), create-only POST, 404s, generation and resourceVersion, the status subresource, finalizers with
deletionTimestamp, garbage collection by ownerReferences, StatefulSets that make claims, and pods' readiness.
The real API server judges the same stories in tests/integration/operator.
"""

import asyncio
import contextlib
import copy
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetmeter_operator.build.site import Images
from fleetmeter_operator.cluster.client import Client, UnreachableError
from fleetmeter_operator.cluster.report import Reports
from fleetmeter_operator.reconcile import period, plan, region
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.status.report import RegionReport

Object = dict[str, Any]
NOW = datetime(2023, 4, 10, tzinfo=UTC)
REGION: Object = {
    "apiVersion": "fleetmeter.io/v1alpha1",
    "kind": "BillingRegion",
    "metadata": {"name": "eu", "namespace": "fleet"},
    "spec": {
        "jurisdiction": "EU",
        "calendar": {"firstPeriod": "2023-01-01", "lastPeriod": "2023-03-01"},
        "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
        "invoicing": {"sellerSecretName": "seller", "series": "EU"},
        "broker": {"type": "Embedded"},
        "store": {"type": "Embedded"},
        "mqtt": {"type": "Embedded"},
        "deletionPolicy": "Delete",
    },
}
CHARGE = {"name": "m", "metric": "messages", "model": "PerUnit", "unitPrice": "0.01"}
VERSION = {"version": "1", "effectiveFrom": "2022-01-01T00:00:00Z", "charges": [CHARGE]}
PLAN: Object = {
    "apiVersion": "fleetmeter.io/v1alpha1",
    "kind": "PricingPlan",
    "metadata": {"name": "iot", "namespace": "fleet"},
    "spec": {"currency": "EUR", "versions": [VERSION]},
}


@dataclass
class FakeCluster:
    """Objects by kind and name. `budget` is how many writes succeed before the API server is gone."""

    namespace: str = "fleet"
    objects: dict[tuple[str, str], Object] = field(default_factory=dict[tuple[str, str], Object])
    applied: dict[tuple[str, str, str], Object] = field(default_factory=dict[tuple[str, str, str], Object])
    budget: float = float("inf")
    writes: list[str] = field(default_factory=list[str])
    ledger: set[str] = field(default_factory=set[str])
    serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def list(self, kind: str, selector: str = "") -> list[Object]:
        found = [copy.deepcopy(each) for (of, _), each in sorted(self.objects.items()) if of == kind]
        return [each for each in found if picks(selector, each["metadata"].get("labels", {}))]

    async def get(self, kind: str, name: str) -> Object | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    async def create(self, body: Object) -> bool:
        self._spend(f"create {body['kind']} {body['metadata']['name']}")
        key = (body["kind"], body["metadata"]["name"])
        if key in self.objects:
            return False
        self._store(key, copy.deepcopy(body))
        return True

    async def apply(self, body: Object, subresource: str = "") -> Object:
        key = (body["kind"], body["metadata"]["name"])
        self._spend(f"apply {key[0]} {key[1]} {subresource}")
        before = self.applied.get((*key, subresource), {})
        live = self.objects.get(key, {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}})
        merged = merge(prune(copy.deepcopy(live), before, body), body)
        self.applied[*key, subresource] = copy.deepcopy(body)
        self._store(key, merged)
        return merged

    async def set_finalizers(self, live: Object, finalizers: Sequence[str]) -> None:
        key = (live["kind"], live["metadata"]["name"])
        self._spend(f"finalizers {key[1]}")
        self.objects[key]["metadata"]["finalizers"] = list(finalizers)
        self._collect()

    async def delete(self, kind: str, name: str) -> bool:
        self._spend(f"delete {kind} {name}")
        if (kind, name) not in self.objects:
            return False
        self.objects[kind, name]["metadata"]["deletionTimestamp"] = "2023-04-10T00:00:00Z"
        self._collect()
        return True

    def _spend(self, what: str) -> None:
        if self.budget <= 0:
            raise UnreachableError("the fake is gone")
        self.budget -= 1
        self.writes.append(what)

    def _store(self, key: tuple[str, str], body: Object) -> None:
        before = self.objects.get(key, {})
        metadata = body["metadata"]
        changed = before.get("spec") != body.get("spec")
        metadata["generation"] = before.get("metadata", {}).get("generation", 0) + int(changed)
        metadata["resourceVersion"] = str(next(self.serial))
        metadata.setdefault("uid", f"uid-{next(self.serial)}")
        metadata.setdefault("creationTimestamp", f"2023-04-10T00:00:{next(self.serial) % 60:02}Z")
        self.objects[key] = body
        if key[0] == "StatefulSet":
            self._claim(key[1])

    def _claim(self, owner: str) -> None:
        name = f"data-{owner}-0"
        if ("PersistentVolumeClaim", name) not in self.objects:
            metadata = {"name": name, "namespace": self.namespace}
            self.objects["PersistentVolumeClaim", name] = {
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
            }

    def _collect(self) -> None:
        """Remove what is deleted and unguarded, and then what it owned, until nothing moves."""
        while True:
            uids = {each["metadata"].get("uid") for each in self.objects.values()}
            gone = [
                key
                for key, each in self.objects.items()
                if (each["metadata"].get("deletionTimestamp") and not each["metadata"].get("finalizers"))
                or any(owner["uid"] not in uids for owner in each["metadata"].get("ownerReferences", []))
            ]
            if not gone:
                return
            for key in gone:
                del self.objects[key]
                for part in ("", "status"):
                    self.applied.pop((*key, part), None)

    def settle(self) -> None:
        """The other controllers: pods run, the migrations complete, closes succeed."""
        for (kind, _), each in self.objects.items():
            generation = each["metadata"].get("generation", 1)
            if kind in ("StatefulSet", "Deployment"):
                count = each["spec"].get("replicas", 1)
                each["status"] = {"readyReplicas": count, "updatedReplicas": count}
                each["status"]["observedGeneration"] = generation
            elif kind == "Job":
                done = {"type": "Complete", "status": "True", "lastTransitionTime": "2023-04-10T00:00:00Z"}
                each["status"] = {"conditions": [done]}
                self.ledger |= {each["metadata"]["labels"].get("fleetmeter.io/period", "")}

    def shape(self) -> dict[tuple[str, str], Object]:
        """What must be equal however the cluster got there: no serials, times, events or passwords."""
        kept: dict[tuple[str, str], Object] = {}
        for key, each in self.objects.items():
            if key[0] == "Event":
                continue
            each = copy.deepcopy(each)
            for serial in ("uid", "resourceVersion", "generation", "creationTimestamp"):
                each["metadata"].pop(serial, None)
            for owner in each["metadata"].get("ownerReferences", []):
                owner.pop("uid")
            each.get("metadata", {}).get("annotations", {}).pop("fleetmeter.io/desired-hash", None)
            each.pop("stringData", None)
            kept[key] = without_generations(each)
        return kept


def picks(selector: str, labels: dict[str, str]) -> bool:
    """Whether a label selector of `key=value` and `key` terms picks these labels."""
    for term in filter(None, selector.split(",")):
        key, _, value = term.partition("=")
        if key not in labels or (value and labels[key] != value):
            return False
    return True


def merge(live: Any, desired: Any) -> Any:
    """Server-side apply of `desired`: maps merge, lists and scalars are replaced."""
    if not isinstance(live, dict) or not isinstance(desired, dict):
        return copy.deepcopy(desired)
    mine, theirs = cast("Object", desired), cast("Object", live)
    return {**theirs, **{key: merge(theirs.get(key), value) for key, value in mine.items()}}


def prune(live: Object, before: Object, desired: Object) -> Object:
    """Remove the fields that the last apply owned and this one drops."""
    for key, value in before.items():
        if key not in desired:
            live.pop(key, None)
        elif isinstance(value, dict) and isinstance(desired[key], dict) and isinstance(live.get(key), dict):
            prune(live[key], cast("Object", value), desired[key])
    return live


def without_generations(each: Object) -> Object:
    status = each.get("status", {})
    status.pop("observedGeneration", None)
    for condition in status.get("conditions", []):
        condition.pop("observedGeneration", None)
    return each


class FakeReports:
    """A region that has taken all usage in: each period is sealable until its close Job succeeded."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    async def read(self, region: str) -> RegionReport:
        closed = self._cluster.ledger
        periods = {
            name: {"contractPeriods": 1, "final": int(name in closed), "sealable": name not in closed}
            for name in (f"{region}-20230{month}" for month in (1, 2, 3))
        }
        return RegionReport.model_validate(
            {"plansInUse": ["iot"], "periods": periods, "contracts": {"loaded": 1}}
        )


def context(cluster: FakeCluster) -> Context:
    return Context(
        client=cast("Client", cluster),
        reports=cast("Reports", FakeReports(cluster)),
        images=Images("workers", "kafka", "postgres", "mosquitto"),
        jurisdiction="EU",
        clock=lambda: NOW,
        generate=lambda: uuid.uuid4().hex,
    )


def one_pass(cluster: FakeCluster) -> None:
    async def run() -> None:
        around = context(cluster)
        await region.reconcile(around, "eu")
        await period.reconcile(around, "eu")
        await plan.reconcile(around, "iot")

    asyncio.run(run())


def to_rest(cluster: FakeCluster) -> None:
    """Passes until one writes nothing. Fails where none does within 30."""
    for _ in range(30):
        cluster.writes.clear()
        one_pass(cluster)
        if not cluster.writes:
            return
        cluster.settle()
    raise AssertionError(f"still writing after 30 passes: {cluster.writes}")


def started() -> FakeCluster:
    cluster = FakeCluster()
    for each in (REGION, PLAN):
        asyncio.run(cluster.create(each))
    return cluster


def interrupted(cluster: FakeCluster, writes: int) -> None:
    """Bring it to rest, with one crash after so many writes."""
    cluster.budget = writes
    try:
        to_rest(cluster)
    except UnreachableError:
        cluster.budget = float("inf")
    to_rest(cluster)


def undisturbed() -> FakeCluster:
    cluster = started()
    to_rest(cluster)
    return cluster


GOAL = undisturbed().shape()
# What a person must not lose is never put back by itself, and a close that ran is a record, not a wish.
NOT_PUT_BACK = ("BillingRegion", "PricingPlan", "PersistentVolumeClaim", "Secret")
CHILDREN = sorted(key for key in GOAL if key[0] not in NOT_PUT_BACK and "-close-" not in key[1])


def test_the_goal_is_whole() -> None:
    kinds = {kind for kind, _ in GOAL}
    assert {"StatefulSet", "Deployment", "Secret", "NetworkPolicy", "Job", "BillingPeriod"} <= kinds
    phases = [each["status"]["phase"] for (kind, _), each in GOAL.items() if kind == "BillingPeriod"]
    assert phases == ["Final"] * 3
    assert GOAL["BillingRegion", "eu"]["status"]["phase"] == "Ready"


@pytest.mark.parametrize("prefix", range(0, 64, 3))
def test_a_crash_after_any_write_is_healed(prefix: int) -> None:
    cluster = started()
    interrupted(cluster, prefix)
    assert cluster.shape() == GOAL


def test_passwords_are_made_once_however_often_it_crashes() -> None:
    cluster = started()
    seen: set[str] = set()
    for _ in range(40):
        cluster.budget = 1
        with contextlib.suppress(UnreachableError):
            one_pass(cluster)
        secret = cluster.objects.get(("Secret", "eu-kafka-auth"))
        if secret:
            seen.add(secret["stringData"]["admin-password"])
    assert len(seen) == 1


def drop(key: tuple[str, str]) -> Callable[[FakeCluster], None]:
    def act(cluster: FakeCluster) -> None:
        if key in cluster.objects:
            asyncio.run(cluster.delete(*key))

    return act


def drift(key: tuple[str, str]) -> Callable[[FakeCluster], None]:
    def act(cluster: FakeCluster) -> None:
        live = cluster.objects.get(key)
        if live and isinstance(live.get("spec"), dict) and "replicas" in live["spec"]:
            live["spec"]["replicas"] = 7
            live["metadata"]["generation"] += 1
        elif live and key[0] != "BillingPeriod":
            live["metadata"]["labels"]["app.kubernetes.io/name"] = "someone"

    return act


def crash(writes: int) -> Callable[[FakeCluster], None]:
    def act(cluster: FakeCluster) -> None:
        cluster.budget = writes
        with contextlib.suppress(UnreachableError):
            one_pass(cluster)
        cluster.budget = float("inf")

    return act


disturbances = st.one_of(
    st.sampled_from(CHILDREN).map(drop),
    st.sampled_from(CHILDREN).map(drift),
    st.integers(0, 40).map(crash),
)


@given(st.lists(disturbances, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_disturbance_is_put_right(acts: list[Callable[[FakeCluster], None]]) -> None:
    cluster = started()
    to_rest(cluster)
    for act in acts:
        act(cluster)
    to_rest(cluster)
    here = cluster.shape()
    for key in CHILDREN:
        assert here[key].get("spec") == GOAL[key].get("spec"), key
        assert here[key]["metadata"].get("labels") == GOAL[key]["metadata"].get("labels"), key
    phases = [each["status"]["phase"] for (kind, _), each in here.items() if kind == "BillingPeriod"]
    assert phases == ["Final"] * 3


@pytest.mark.parametrize("prefix", range(12))
def test_delete_takes_everything_whenever_it_is_interrupted(prefix: int) -> None:
    cluster = undisturbed()
    asyncio.run(cluster.delete("BillingRegion", "eu"))
    interrupted(cluster, prefix)
    left = {kind for kind, _ in cluster.objects}
    assert left == {"PricingPlan", "ConfigMap", "Event"}
    assert [name for kind, name in cluster.objects if kind == "ConfigMap"] == [
        name for kind, name in GOAL if kind == "ConfigMap" and name.startswith("plan-")
    ]


def test_retain_leaves_volumes_and_credentials_and_takes_them_up_again() -> None:
    cluster = started()
    cluster.objects["BillingRegion", "eu"]["spec"]["deletionPolicy"] = "Retain"
    to_rest(cluster)
    before = cluster.objects["Secret", "eu-postgres-auth"]["stringData"]
    asyncio.run(cluster.delete("BillingRegion", "eu"))
    to_rest(cluster)
    assert {kind for kind, _ in cluster.objects} >= {"PersistentVolumeClaim", "Secret"}
    assert ("StatefulSet", "eu-postgres") not in cluster.objects
    asyncio.run(cluster.create(REGION))
    to_rest(cluster)
    assert cluster.objects["Secret", "eu-postgres-auth"]["stringData"] == before
    assert ("StatefulSet", "eu-postgres") in cluster.objects
