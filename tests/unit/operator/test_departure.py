"""A region that went before it had the finalizer: its data goes, or a newer one has it, never half of it."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from fleetmeter_operator.build.site import Images
from fleetmeter_operator.cluster.client import Client, UnreachableError
from fleetmeter_operator.cluster.report import Reports
from fleetmeter_operator.reconcile import region
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.reconcile.departure import Departures

Object = dict[str, Any]
KINDS = ("kafka", "mosquitto", "postgres")
SPEC: Object = {
    "jurisdiction": "EU",
    "calendar": {"firstPeriod": "2023-01-01"},
    "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
    "invoicing": {"sellerSecretName": "seller", "series": "EU"},
    "broker": {"type": "Embedded"},
    "store": {"type": "Embedded"},
    "mqtt": {"type": "Embedded"},
}


def state(uid: str, version: int, policy: str = "Delete", **more: Any) -> Object:
    """A region as the API server tells of it; `more` goes into its metadata, or into its spec."""
    fields = {key: more.pop(key) for key in tuple(more) if key in SPEC}
    metadata = {"name": "eu", "namespace": "fleet", "uid": uid, "resourceVersion": str(version), **more}
    spec = {**SPEC, **fields, "deletionPolicy": policy}
    return {"kind": "BillingRegion", "metadata": {"generation": 1, **metadata}, "spec": spec}


@dataclass
class Cluster:
    """What a region leaves: claims and Secrets, each with the number of its making. Call `at` does `act`."""

    found: Object | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    there: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    at: int = -1
    act: Callable[[], None] = lambda: None
    calls: int = 0
    departures: Departures = field(default_factory=Departures)

    def __post_init__(self) -> None:
        for engine in KINDS:
            self.make("PersistentVolumeClaim", f"data-eu-{engine}-0")
        for secret in ("kafka", "mqtt", "postgres"):
            self.make("Secret", f"eu-{secret}-auth")

    def make(self, kind: str, name: str) -> None:
        self.there.setdefault((kind, name), next(self.numbers))

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.act()

    async def get(self, _kind: str, _name: str) -> Object | None:
        found = self.found
        self._called()
        return found

    async def list(self, kind: str, _selector: str = "") -> list[Object]:
        self._called()
        return [{"kind": of, "metadata": {"name": name}} for of, name in self.there if of == kind]

    async def create(self, body: Object) -> None:
        self._called()
        self.make(body["kind"], body["metadata"]["name"])

    async def apply(self, body: Object, _subresource: str = "") -> None:
        self._called()
        if body["kind"] == "StatefulSet":
            self.make("PersistentVolumeClaim", f"data-{body['metadata']['name']}-0")

    async def delete(self, kind: str, name: str) -> None:
        self._called()
        self.there.pop((kind, name), None)


class Silent:
    """A region that does not answer yet."""

    async def read(self, _region: str) -> None:
        return None


def passes(cluster: Cluster, *ends: Object) -> None:
    """Tell of ends, then reconcile until two passes have nothing on its way out any more."""
    context = Context(
        client=cast("Client", cluster),
        reports=cast("Reports", Silent()),
        images=Images("workers", "kafka", "postgres", "mosquitto"),
        jurisdiction="EU",
        clock=lambda: datetime(2023, 4, 10, tzinfo=UTC),
        generate=lambda: "",
        departures=cluster.departures,
    )
    for end in ends:
        cluster.departures.note(end, gone=True)

    async def run() -> None:
        quiet = 0
        while quiet < 2:
            try:
                quiet = 0 if await region.reconcile(context, "eu") == 1.0 else quiet + 1
            except UnreachableError:
                quiet = 0

    asyncio.run(asyncio.wait_for(run(), 10))


def moments() -> range:
    """The calls that an undisturbed end takes, by number, without the look that closes it."""
    cluster = Cluster()
    passes(cluster, state("1", 5))
    return range(1, cluster.calls)


def test_the_data_goes_with_it() -> None:
    cluster = Cluster()
    passes(cluster, state("1", 5))
    assert cluster.there == {}


@pytest.mark.parametrize(
    "end",
    [
        state("1", 5, "Retain"),
        state("1", 5, jurisdiction="US"),
        state("1", 5, finalizers=["fleetmeter.io/delete-data"]),
    ],
    ids=["its policy is Retain", "it was never served here", "the finalizer has seen to it"],
)
def test_the_data_stays(end: Object) -> None:
    cluster = Cluster()
    before = dict(cluster.there)
    passes(cluster, end)
    assert cluster.there == before


def test_a_newer_end_counts_in_whatever_order_they_are_told() -> None:
    deleted, retained = state("1", 5), state("2", 7, "Retain")
    for order in ((deleted, retained), (retained, deleted)):
        cluster = Cluster()
        before = dict(cluster.there)
        passes(cluster, *order)
        assert cluster.there == before


def test_a_region_that_is_there_again_has_the_data_and_decides_about_it() -> None:
    cluster = Cluster(found=state("2", 7, "Retain"))
    before = dict(cluster.there)
    passes(cluster, state("1", 5))
    assert cluster.there == before
    cluster.found = None
    passes(cluster)
    assert cluster.there == before


def test_a_look_that_is_older_than_the_end_decides_nothing() -> None:
    def recreate() -> None:
        cluster.found = state("2", 7, "Retain")
        cluster.departures.note(state("1", 5), gone=True)

    cluster = Cluster(found=state("1", 4, "Retain"), at=1, act=recreate)
    before = dict(cluster.there)
    passes(cluster)
    assert cluster.there == before


def test_a_region_that_comes_once_it_has_begun_starts_afresh() -> None:
    for at in moments():
        cluster = Cluster(at=at)
        before = dict(cluster.there)
        cluster.act = lambda here=cluster: setattr(here, "found", state("2", 7, "Retain"))
        passes(cluster, state("1", 5))
        assert set(cluster.there) == set(before), f"call {at}: it has all that it needs"
        assert not set(cluster.there.items()) & set(before.items()), f"call {at}: nothing of it is old"


def test_an_api_server_that_goes_in_between_changes_nothing_of_that() -> None:
    def fail() -> None:
        raise UnreachableError("away")

    for at in moments():
        cluster = Cluster(at=at, act=fail)
        passes(cluster, state("1", 5))
        assert cluster.there == {}, f"call {at}"
