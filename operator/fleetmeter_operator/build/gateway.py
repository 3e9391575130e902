"""The gateway: where devices' messages come in, by HTTP and from the MQTT broker."""

from __future__ import annotations

from fleetmeter_operator.build import config, kafka, mosquitto, pods, postgres, resources, stateful, workers
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "gateway"
PORT = 8080


def build(site: Site) -> list[Object]:
    """The Deployment and the Service of the region's entrance."""
    deployment = workers.build_deployment(
        site,
        COMPONENT,
        replicas=site.spec.gateway.replicas,
        env=[
            *kafka.client_env(site, COMPONENT),
            *postgres.client_env(site, COMPONENT),
            *mosquitto.client_env(site),
            pods.value("FLEETMETER_PORT", str(PORT)),
            pods.value("FLEETMETER_METRICS_PORT", str(workers.METRICS_PORT)),
        ],
        mounted=[config.region(site), config.tokens(site)],
        ports={"http": PORT},
        resources=resources.declared(site.spec.gateway.resources, pods.memory("96Mi", "512Mi")),
        strategy=workers.replace_in_place(),
    )
    return [deployment, stateful.build_service(site, COMPONENT, {"http": PORT})]
