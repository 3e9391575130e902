"""The embedded Kafka: one KRaft node on one volume."""

from __future__ import annotations

from fleetmeter_operator.build import pods, resources, secrets, stateful
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "kafka"
PORT = 9092
_DEFAULT_HEAP_MIB = 256
_MIB = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "Ti": 1024 * 1024}
_OVERHEAD_MIB = (
    288  # measured: 61 MiB beside a 256 MiB heap when idle; the rest is for page buffers and threads
)


def build(site: Site) -> list[Object]:
    """The start script, the StatefulSet and the Service of the region's broker."""
    embedded = site.spec.broker.embedded_settings
    heap = _heap_mib(embedded.heap)
    users = secrets.KAFKA
    engine = stateful.Engine(
        component=COMPONENT,
        image=site.images.kafka,
        port=PORT,
        port_name="kafka",
        data="/var/lib/kafka",
        storage=embedded.storage,
        env=[
            *(
                pods.from_secret(f"KAFKA_PASSWORD_{user.upper()}", users.name(site.name), f"{user}-password")
                for user in users.users
            ),
            pods.value("KAFKA_HEAP", f"{heap}m"),
            pods.value("KAFKA_ADVERTISED", f"{site.part(COMPONENT)}:{PORT}"),
        ],
        resources=resources.declared(
            embedded.resources, pods.memory(f"{heap + 64}Mi", f"{heap + _OVERHEAD_MIB}Mi", cpu="100m")
        ),
        grace_seconds=60,
    )
    return [
        stateful.build_start(site, COMPONENT),
        stateful.build_stateful_set(site, engine),
        stateful.build_service(site, COMPONENT, {"kafka": PORT}),
    ]


def client_env(site: Site, user: str) -> list[Object]:
    """What a worker needs to reach the broker as `user`."""
    return [
        pods.value("FLEETMETER_KAFKA_BOOTSTRAP", f"{site.part(COMPONENT)}:{PORT}"),
        pods.value("FLEETMETER_KAFKA_USER", user),
        pods.from_secret("FLEETMETER_KAFKA_PASSWORD", secrets.KAFKA.name(site.name), f"{user}-password"),
    ]


def _heap_mib(heap: str | None) -> int:
    """The Java heap in MiB, which is what the image's variable takes."""
    if heap is None:
        return _DEFAULT_HEAP_MIB
    return max(64, int(int(heap[:-2]) * _MIB[heap[-2:]]))
