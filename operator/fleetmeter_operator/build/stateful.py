"""The shape of an embedded engine: one pod, one claim that outlives it, one Service of the same name."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

from fleetmeter_operator.build import labels, pods
from fleetmeter_operator.build.digest import digest
from fleetmeter_operator.build.quantity import quantity
from fleetmeter_operator.build.site import Object, Site

CLAIM = "data"
START_ROOT = "/etc/fleetmeter"
START_FILE = "start"


@dataclass(frozen=True)
class Engine:
    """What differs between the engines."""

    component: str
    image: str
    port: int
    port_name: str
    data: str
    storage: str
    env: list[Object]
    resources: Object
    grace_seconds: int


@functools.cache
def start_script(component: str) -> str:
    """The script that starts the engine: the image's own. Mounted, it starts an upstream image as well."""
    return resources.files("fleetmeter_operator.engines").joinpath(f"start-{component}").read_text("utf-8")


def build_start(site: Site, component: str) -> Object:
    """The ConfigMap with the engine's start script."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": labels.owned(site, site.part(f"{component}-start"), component),
        "data": {START_FILE: start_script(component)},
    }


def claim_name(site: Site, component: str) -> str:
    """The claim that the StatefulSet controller makes for the engine's only pod."""
    return f"{CLAIM}-{site.part(component)}-0"


def build_stateful_set(site: Site, engine: Engine) -> Object:
    """The engine's StatefulSet. Its claims are kept on every kind of deletion."""
    body = pods.container(
        engine.component,
        engine.image,
        site.images,
        mounts=[
            {"name": CLAIM, "mountPath": engine.data},
            {"name": START_FILE, "mountPath": START_ROOT, "readOnly": True},
        ],
        command=["/bin/sh", f"{START_ROOT}/{START_FILE}"],
        env=engine.env,
        ports=[{"name": engine.port_name, "containerPort": engine.port, "protocol": "TCP"}],
        resources=engine.resources,
        startupProbe=pods.tcp_probe(engine.port, period=2, failures=150),
        readinessProbe=pods.tcp_probe(engine.port, period=3),
        livenessProbe=pods.tcp_probe(engine.port, period=20, failures=6),
    )
    selector = labels.part_selector(site.name, engine.component)
    template = pods.pod(
        labels.part_labels(site.name, engine.component),
        body,
        site.images,
        volumes=[{"name": START_FILE, "configMap": {"name": site.part(f"{engine.component}-start")}}],
        annotations={labels.START_HASH: digest(start_script(engine.component))},
        terminationGracePeriodSeconds=engine.grace_seconds,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": labels.owned(site, site.part(engine.component), engine.component),
        "spec": {
            "replicas": 1,
            "serviceName": site.part(engine.component),
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "selector": {"matchLabels": selector},
            "template": template,
            "volumeClaimTemplates": [_claim_template(site, engine)],
        },
    }


def keep_claims(desired: Object, live: Object | None) -> tuple[Object, str | None]:
    """A StatefulSet with the claim templates that it has, for good; and what that leaves undone."""
    if live is None:
        return desired, None
    (wanted,) = desired["spec"]["volumeClaimTemplates"]
    has = _storage(live["spec"]["volumeClaimTemplates"][0])
    wants = _storage(wanted)
    if quantity(has) == quantity(wants):
        return desired, None
    requests = {"requests": {"storage": has}}
    kept = {**wanted, "spec": {**wanted["spec"], "resources": requests}}
    name = desired["metadata"]["name"]
    note = (
        f"claim {CLAIM}-{name}-0 was made with {has}, the spec asks for {wants};"
        " where the storage class lets volumes grow, raise the claim's own spec.resources.requests.storage"
    )
    return {**desired, "spec": {**desired["spec"], "volumeClaimTemplates": [kept]}}, note


def _storage(claim: Object) -> str:
    return claim["spec"]["resources"]["requests"]["storage"]


def build_service(site: Site, component: str, ports: dict[str, int]) -> Object:
    """A ClusterIP Service: its address stays when the pod moves, so clients need no fresh lookup."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels.owned(site, site.part(component), component),
        "spec": {
            "selector": labels.part_selector(site.name, component),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in ports.items()
            ],
        },
    }


def _claim_template(site: Site, engine: Engine) -> Object:
    return {
        "metadata": {"name": CLAIM, "labels": labels.part_labels(site.name, engine.component)},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": engine.storage}}},
    }
