"""PodDisruptionBudgets: a drained node takes one pod of a part at a time."""

from __future__ import annotations

from fleetmeter_operator.build import consumer, gateway, kafka, labels, mosquitto, postgres, region_api
from fleetmeter_operator.build.site import Object, Site


def build(site: Site) -> list[Object]:
    """One budget a part. An unhealthy pod may always be evicted: it serves nobody."""
    parts = [kafka.COMPONENT, postgres.COMPONENT, gateway.COMPONENT, consumer.COMPONENT, region_api.COMPONENT]
    if site.has_mosquitto:
        parts.append(mosquitto.COMPONENT)
    return [_budget(site, part) for part in parts]


def _budget(site: Site, component: str) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": labels.owned(site, site.part(component), component),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels.part_selector(site.name, component)},
        },
    }
