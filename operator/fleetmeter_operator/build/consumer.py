"""The consumer: reads the queue, decides every event, writes the ledger."""

from __future__ import annotations

from fleetmeter_operator.build import config, kafka, pods, postgres, resources, workers
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "consumer"


def build(site: Site) -> list[Object]:
    """The consumers' Deployment."""
    deployment = workers.build_deployment(
        site,
        COMPONENT,
        replicas=site.spec.consumers.replicas,
        env=[
            *kafka.client_env(site, COMPONENT),
            *postgres.client_env(site, COMPONENT),
            pods.value("FLEETMETER_METRICS_PORT", str(workers.METRICS_PORT)),
        ],
        mounted=[config.region(site)],
        ports={},
        resources=resources.declared(site.spec.consumers.resources, pods.memory("128Mi", "768Mi")),
        strategy=workers.replace_in_place(),
    )
    return [deployment]
