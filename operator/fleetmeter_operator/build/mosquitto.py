"""The embedded Mosquitto: the MQTT entrance, with the gateway's persistent session on one volume."""

from __future__ import annotations

from fleetmeter_operator.build import pods, resources, secrets, stateful
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "mosquitto"
PORT = 1883


def build(site: Site) -> list[Object]:
    """The start script, the StatefulSet and the Service of the MQTT broker; nothing where there is none."""
    if not site.has_mosquitto:
        return []
    embedded = site.spec.mqtt.embedded_settings
    users = secrets.MQTT
    engine = stateful.Engine(
        component=COMPONENT,
        image=site.images.mosquitto,
        port=PORT,
        port_name="mqtt",
        data="/var/lib/mosquitto",
        storage=embedded.storage,
        env=[
            pods.from_secret(f"MQTT_PASSWORD_{user.upper()}", users.name(site.name), f"{user}-password")
            for user in users.users
        ],
        # The queue of the gateway's session lives in memory while the gateway is away.
        resources=resources.declared(embedded.resources, pods.memory("32Mi", "512Mi")),
        grace_seconds=30,
    )
    return [
        stateful.build_start(site, COMPONENT),
        stateful.build_stateful_set(site, engine),
        stateful.build_service(site, COMPONENT, {"mqtt": PORT}),
    ]


def client_env(site: Site) -> list[Object]:
    """What the gateway needs to read the region's MQTT broker; nothing where there is none."""
    if not site.has_mosquitto:
        return []
    return [
        pods.value("FLEETMETER_MQTT_HOST", site.part(COMPONENT)),
        pods.value("FLEETMETER_MQTT_PORT", str(PORT)),
        pods.value("FLEETMETER_MQTT_USER", "gateway"),
        pods.from_secret("FLEETMETER_MQTT_PASSWORD", secrets.MQTT.name(site.name), "gateway-password"),
        # Of several gateways one at a time reads the broker.
        pods.value("FLEETMETER_GATEWAYS", str(site.spec.gateway.replicas)),
    ]
