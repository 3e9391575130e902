"""The region API: usage and invoices for people, `/status` for the operator alone."""

from __future__ import annotations

from fleetmeter_operator.build import config, kafka, pods, postgres, resources, stateful, workers
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "api"
PORT = 8080
STATUS_PORT = 8081


def build(site: Site) -> list[Object]:
    """The Deployment and the Service of the region API."""
    deployment = workers.build_deployment(
        site,
        COMPONENT,
        replicas=1,
        env=[
            *kafka.client_env(site, COMPONENT),
            *postgres.client_env(site, COMPONENT),
            pods.value("FLEETMETER_PORT", str(PORT)),
            pods.value("FLEETMETER_STATUS_PORT", str(STATUS_PORT)),
            pods.value("FLEETMETER_METRICS_PORT", str(workers.METRICS_PORT)),
        ],
        mounted=[config.region(site), config.contracts(site), config.tokens(site)],
        ports={"http": PORT, "status": STATUS_PORT},
        resources=resources.declared(site.spec.api.resources, pods.memory("128Mi", "512Mi")),
        strategy=workers.replace_ahead(),
    )
    return [deployment, stateful.build_service(site, COMPONENT, {"http": PORT, "status": STATUS_PORT})]
