"""Who reaches whom by the policies, worked out as Kubernetes does: both ends must allow a connection."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleetmeter_operator.build.policies import build
from fleetmeter_operator.build.site import Site

Object = dict[str, Any]
COMPONENT, REGION = "app.kubernetes.io/component", "fleetmeter.io/region"
OPERATOR = {COMPONENT: "operator"}
STRANGER = {"app": "curl"}
NAMESPACE = {"kubernetes.io/metadata.name": "fleet"}


def part(component: str, region: str = "eu") -> dict[str, str]:
    return {COMPONENT: component, REGION: region}


def picks(selector: Object, labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()


def peer_is(peer: Object, labels: dict[str, str]) -> bool:
    if "namespaceSelector" in peer:
        return picks(peer["namespaceSelector"], NAMESPACE) and picks(peer.get("podSelector", {}), labels)
    return picks(peer["podSelector"], labels)


def allows(policies: list[Object], way: str, here: dict[str, str], there: dict[str, str], port: int) -> bool:
    """Whether the policies let `here` speak (egress) or listen (ingress) to `there`."""
    applying = [p for p in policies if picks(p["spec"]["podSelector"], here)]
    applying = [p for p in applying if way.capitalize() in p["spec"]["policyTypes"]]
    if not applying:
        return True
    side = "to" if way == "egress" else "from"
    return any(
        any(peer_is(peer, there) for peer in rule[side])
        and any(each["port"] == port and each["protocol"] == "TCP" for each in rule["ports"])
        for policy in applying
        for rule in policy["spec"].get(way, [])
    )


@pytest.fixture
def reaches(site: Callable[..., Site]) -> Callable[[dict[str, str], dict[str, str], int], bool]:
    """Whether one pod reaches another's port, in a namespace with the regions eu and us."""
    policies = [policy for region in ("eu", "us") for policy in build(site(region))]

    def check(source: dict[str, str], target: dict[str, str], port: int) -> bool:
        return allows(policies, "egress", source, target, port) and allows(
            policies, "ingress", target, source, port
        )

    return check


PARTS = ["kafka", "postgres", "mosquitto", "gateway", "consumer", "api", "close", "migrate"]
PORTS = [9092, 5432, 1883, 8080, 8081, 9090]
WANTED = {
    *((client, "kafka", 9092) for client in ("gateway", "consumer", "api", "close", "migrate")),
    *((client, "postgres", 5432) for client in ("gateway", "consumer", "api", "close", "migrate")),
    ("gateway", "mosquitto", 1883),
}


def test_parts_reach_exactly_what_they_need(reaches: Callable[..., bool]) -> None:
    found = {
        (source, target, port)
        for source in PARTS
        for target in PARTS
        for port in PORTS
        if reaches(part(source), part(target), port)
    }
    assert found == WANTED


def test_no_part_reaches_another_region_or_a_stranger(reaches: Callable[..., bool]) -> None:
    for source in PARTS:
        for port in PORTS:
            assert not reaches(part(source), STRANGER, port)
            assert not any(reaches(part(source), part(target, "us"), port) for target in PARTS)


def test_a_stranger_reaches_the_two_entrances_alone(reaches: Callable[..., bool]) -> None:
    found = {(target, port) for target in PARTS for port in PORTS if reaches(STRANGER, part(target), port)}
    assert found == {("gateway", 8080), ("mosquitto", 1883)}


def test_the_operator_alone_reads_status(reaches: Callable[..., bool]) -> None:
    assert reaches(OPERATOR, part("api"), 8081)
    assert not reaches(OPERATOR, part("api"), 8080)
    assert not reaches(OPERATOR, part("postgres"), 5432)


def test_only_named_watchers_read_the_workers_metrics(site: Callable[..., Site]) -> None:
    watcher = {"app": "prometheus"}
    policies = build(replace(site(), metrics_from=({"podSelector": {"matchLabels": watcher}},)))

    def found(source: dict[str, str]) -> set[str]:
        return {target for target in PARTS if allows(policies, "ingress", part(target), source, 9090)}

    assert found(watcher) == {"gateway", "consumer", "api"}
    assert found(STRANGER) == set()
    assert not any(allows(policies, "ingress", part(target), watcher, 5432) for target in PARTS)
