"""A region where it is installed: its model, its place in the cluster, and the images it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleetmeter_api.region import BillingRegionSpec

Object = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """The images of a region's parts, and how the kubelet gets them."""

    workers: str
    kafka: str
    postgres: str
    mosquitto: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """One BillingRegion as an owner of children: all that a builder may know.

    `metrics_from`: the NetworkPolicyPeers that may read the workers' metrics.
    """

    name: str
    namespace: str
    uid: str
    spec: BillingRegionSpec
    images: Images
    metrics_from: tuple[Object, ...] = ()

    def part(self, component: str) -> str:
        """The name of the object that is this region's `component`."""
        return f"{self.name}-{component}"

    @property
    def has_mosquitto(self) -> bool:
        """Whether the region runs an MQTT broker of its own."""
        return self.spec.mqtt.type == "Embedded"
