"""The same cluster by kind, where a Docker engine answers.

Written from kind's manual; not run so far, since no Docker engine was at hand.
"""

import functools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fleetmeter_cluster import api, binaries
from fleetmeter_cluster.command import run, succeeds
from fleetmeter_cluster.controlplane import MANIFESTS
from fleetmeter_cluster.progress import Step, Steps, await_true
from fleetmeter_cluster.state import Cluster, Place

CONFIG = Path(__file__).resolve().parents[2] / "kind-config.yaml"
CHOICE = "FLEETMETER_ENGINE"
"""`namespace` keeps to this machine's own cluster even where Docker answers."""


@functools.cache
def answers() -> bool:
    """Whether a Docker engine answers and is not refused by $FLEETMETER_ENGINE."""
    if os.environ.get(CHOICE) == "namespace" or not shutil.which("docker"):
        return False
    return succeeds(["docker", "info"])


def up(place: Place, steps: Steps) -> Cluster:
    """Brings the cluster up by kind; a healthy one is left as it is."""
    recorded = place.recorded()
    if recorded is not None and not missing(place):
        return recorded
    if place.full_name in _clusters():
        steps.run("remove what an earlier run left", lambda _: _delete(place))
    module = binaries.KIND_MODULE
    steps.run("go build kind", lambda step: binaries.build(module, step), log=binaries.log_of(module))
    steps.run("kind create cluster", lambda step: _create(place, step), log=place.logs / "kind.log")
    steps.run("namespace and routes", lambda step: _finish(place, step))
    cluster = place.cluster("kind", _node_address(place))
    place.finish(cluster)
    return cluster


def down(place: Place, steps: Steps) -> list[str]:
    """Removes the cluster; says what was removed."""
    said = steps.run("kind delete cluster", lambda _: _delete(place))
    shutil.rmtree(place.home, ignore_errors=True)
    return [*said, f"the folder {place.home}"]


def missing(place: Place) -> list[str]:
    """What is not ready of the cluster, for a person."""
    if place.recorded() is None:
        return ["it is not up"]
    ready = api.node_ready(place.kubeconfig, f"{place.full_name}-control-plane")
    return [] if ready else ["the node is not Ready"]


def load(place: Place, archives: Sequence[Path]) -> None:
    """Puts image archives into the node."""
    for archive in archives:
        run([binaries.path("kind"), "load", "image-archive", archive, "--name", place.full_name])


def config(place: Place) -> dict[str, Any]:
    """kind-config.yaml with what differs by cluster: networks, and where the audit log is kept."""
    document: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    document["networking"] |= {
        "serviceSubnet": str(place.service_network),
        "podSubnet": str(place.pod_network),
    }
    document["nodes"][0]["extraMounts"] = [
        {
            "hostPath": str(MANIFESTS / "audit-policy.yaml"),
            "containerPath": "/etc/fleetmeter/audit-policy.yaml",
        },
        {"hostPath": str(place.audit_log.parent), "containerPath": "/var/log/fleetmeter"},
    ]
    return document


def _create(place: Place, step: Step) -> None:
    place.audit_log.parent.mkdir(parents=True, exist_ok=True)
    place.private.mkdir(mode=0o700, exist_ok=True)
    words = [
        "create",
        "cluster",
        "--name",
        place.full_name,
        "--kubeconfig",
        place.kubeconfig,
        "--wait",
        "180s",
    ]
    step.say("kind, which fetches its node image and starts it")
    step.command(
        [binaries.path("kind"), *words, "--config", "-"], standard_input=yaml.safe_dump(config(place))
    )


def _finish(place: Place, step: Step) -> None:
    """Makes the demo's namespace, and Service addresses reachable from the host."""
    api.apply(place.kubeconfig, (MANIFESTS / "namespace.yaml").read_text(), step)
    run(["ip", "route", "replace", str(place.service_network), "via", _node_address(place)])
    ready = f"{place.full_name}-control-plane"
    await_true(
        lambda: api.node_ready(place.kubeconfig, ready), "the node to be Ready", step=step, seconds=120
    )


def _node_address(place: Place) -> str:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run(["docker", "inspect", "--format", form, f"{place.full_name}-control-plane"]).strip()


def _clusters() -> list[str]:
    return run([binaries.path("kind"), "get", "clusters"]).split()


def _delete(place: Place) -> list[str]:
    succeeds(["ip", "route", "del", str(place.service_network)])
    run([binaries.path("kind"), "delete", "cluster", "--name", place.full_name])
    return [f"the kind cluster {place.full_name}"]
