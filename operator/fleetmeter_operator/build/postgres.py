"""The embedded Postgres: the ledger's database on one volume."""

from __future__ import annotations

from fleetmeter_operator.build import pods, resources, secrets, stateful
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "postgres"
PORT = 5432
DATABASE = "fleetmeter"
SUPERUSER = "postgres"


def build(site: Site) -> list[Object]:
    """The start script, the StatefulSet and the Service of the region's ledger."""
    embedded = site.spec.store.embedded_settings
    engine = stateful.Engine(
        component=COMPONENT,
        image=site.images.postgres,
        port=PORT,
        port_name="postgres",
        data="/var/lib/postgresql/data",
        storage=embedded.storage,
        env=[
            pods.from_secret("POSTGRES_PASSWORD", secrets.POSTGRES.name(site.name), f"{SUPERUSER}-password"),
            pods.value("POSTGRES_DB", DATABASE),
        ],
        resources=resources.declared(embedded.resources, pods.memory("192Mi", "1Gi", cpu="100m")),
        grace_seconds=60,
    )
    return [
        stateful.build_start(site, COMPONENT),
        stateful.build_stateful_set(site, engine),
        stateful.build_service(site, COMPONENT, {"postgres": PORT}),
    ]


def client_env(site: Site, role: str) -> list[Object]:
    """What a worker needs to reach the ledger as `role`."""
    return [
        pods.value("PGHOST", site.part(COMPONENT)),
        pods.value("PGPORT", str(PORT)),
        pods.value("PGDATABASE", DATABASE),
        pods.value("PGUSER", role),
        pods.from_secret("PGPASSWORD", secrets.POSTGRES.name(site.name), f"{role}-password"),
    ]
