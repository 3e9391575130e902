"""NetworkPolicies: nothing by default, then each part's few ways in and out."""

from __future__ import annotations

from collections.abc import Sequence

from fleetmeter_operator.build import (
    close_job,
    consumer,
    gateway,
    kafka,
    labels,
    migrations,
    mosquitto,
    postgres,
    region_api,
    workers,
)
from fleetmeter_operator.build.site import Object, Site

OPERATOR = {labels.COMPONENT: "operator"}

_CLIENTS = (
    gateway.COMPONENT,
    consumer.COMPONENT,
    region_api.COMPONENT,
    close_job.COMPONENT,
    migrations.COMPONENT,
)


def build(site: Site) -> list[Object]:
    """A policy for the whole region that denies all but DNS, and one a part that opens its own ways."""
    engines = [_to(site, kafka.COMPONENT, kafka.PORT), _to(site, postgres.COMPONENT, postgres.PORT)]
    clients = [_pods(labels.part_selector(site.name, client)) for client in _CLIENTS]
    entrance = _entrance(site)
    broker = [_to(site, mosquitto.COMPONENT, mosquitto.PORT)] if site.has_mosquitto else []
    watch = [_from(site.metrics_from, workers.METRICS_PORT)] if site.metrics_from else []
    policies = [
        _deny_all(site),
        _policy(site, kafka.COMPONENT, ingress=[_from(clients, kafka.PORT)]),
        _policy(site, postgres.COMPONENT, ingress=[_from(clients, postgres.PORT)]),
        _policy(
            site,
            gateway.COMPONENT,
            ingress=[_from(entrance, gateway.PORT), *watch],
            egress=[*engines, *broker],
        ),
        _policy(site, consumer.COMPONENT, ingress=watch, egress=engines),
        _policy(
            site,
            region_api.COMPONENT,
            ingress=[_from([_pods(OPERATOR)], region_api.STATUS_PORT), *watch],
            egress=engines,
        ),
        _policy(site, close_job.COMPONENT, egress=engines),
        _policy(site, migrations.COMPONENT, egress=engines),
    ]
    if site.has_mosquitto:
        policies.append(_policy(site, mosquitto.COMPONENT, ingress=[_from(entrance, mosquitto.PORT)]))
    return policies


def _entrance(site: Site) -> list[Object]:
    """Who may send messages: the namespace's pods. A port-forward needs no rule; it comes from the node."""
    return [{"podSelector": {}}]


def _deny_all(site: Site) -> Object:
    name = site.part("default-deny")
    dns: Object = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": labels.owned(site, name, "network"),
        "spec": {
            "podSelector": {"matchLabels": {labels.REGION: site.name}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [dns],
        },
    }


def _policy(
    site: Site, component: str, *, ingress: Sequence[Object] = (), egress: Sequence[Object] = ()
) -> Object:
    directions: Object = {}
    if ingress:
        directions["ingress"] = list(ingress)
    if egress:
        directions["egress"] = list(egress)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": labels.owned(site, site.part(component), component),
        "spec": {
            "podSelector": {"matchLabels": labels.part_selector(site.name, component)},
            "policyTypes": [direction.capitalize() for direction in directions],
            **directions,
        },
    }


def _pods(match: dict[str, str]) -> Object:
    return {"podSelector": {"matchLabels": match}}


def _from(peers: Sequence[Object], port: int) -> Object:
    return {"from": list(peers), "ports": [{"protocol": "TCP", "port": port}]}


def _to(site: Site, component: str, port: int) -> Object:
    return {
        "to": [_pods(labels.part_selector(site.name, component))],
        "ports": [{"protocol": "TCP", "port": port}],
    }
