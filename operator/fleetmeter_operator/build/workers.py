"""The shape of a worker: one container of the workers' image that runs one stage."""

from __future__ import annotations

from collections.abc import Sequence

from fleetmeter_operator.build import config, labels, pods
from fleetmeter_operator.build.config import Mounted
from fleetmeter_operator.build.site import Object, Site

METRICS_PORT = 9090


def stage_container(
    site: Site,
    stage: str,
    args: Sequence[str],
    env: Sequence[Object],
    mounted: Sequence[Mounted],
    **fields: object,
) -> Object:
    """The container that runs `fleetmeter-worker <stage>` with its settings and mounts."""
    return pods.container(
        stage,
        site.images.workers,
        site.images,
        mounts=config.mounts(mounted),
        args=[stage, *args],
        env=[*env, *(part.env for part in mounted)],
        **fields,
    )


def build_deployment(
    site: Site,
    component: str,
    *,
    replicas: int,
    env: Sequence[Object],
    mounted: Sequence[Mounted],
    ports: dict[str, int],
    resources: Object,
    strategy: Object,
) -> Object:
    """A worker's Deployment: probed on its metrics port, rolled when the region's configuration changes."""
    body = stage_container(
        site,
        component,
        [],
        env,
        mounted,
        ports=[
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in {**ports, "metrics": METRICS_PORT}.items()
        ],
        resources=resources,
        readinessProbe=pods.http_probe("/readyz", METRICS_PORT, period=3),
        # A worker whose engine is away waits and is not ready; only one that hangs is restarted.
        livenessProbe=pods.http_probe("/healthz", METRICS_PORT, period=20, failures=6),
    )
    template = pods.pod(
        labels.part_labels(site.name, component),
        body,
        site.images,
        volumes=config.volumes(mounted),
        annotations={labels.CONFIG_HASH: config.config_hash(site)},
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": labels.owned(site, site.part(component), component),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "strategy": strategy,
            "selector": {"matchLabels": labels.part_selector(site.name, component)},
            "template": template,
        },
    }


def replace_in_place() -> Object:
    """Old pod out before the new one in: of an only gateway two would throw each other out at the broker."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def replace_ahead() -> Object:
    """New pod ready before the old one goes, for what people and the operator read."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
