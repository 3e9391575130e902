"""The generated credentials of the embedded engines: who has a password, and the Secret that carries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleetmeter_operator.build import labels
from fleetmeter_operator.build.site import Object, Site


@dataclass(frozen=True)
class Credential:
    """One engine's Secret: its name's ending, and the users whose passwords it holds."""

    component: str
    suffix: str
    users: tuple[str, ...]

    def name(self, region: str) -> str:
        """The Secret's name in `region`."""
        return f"{region}-{self.suffix}"


KAFKA = Credential("kafka", "kafka-auth", ("admin", "gateway", "consumer", "api"))
POSTGRES = Credential("postgres", "postgres-auth", ("postgres", "consumer", "closer", "api", "gateway"))
MQTT = Credential("mosquitto", "mqtt-auth", ("gateway", "ingest", "backfill"))


def credentials(site: Site) -> list[Credential]:
    """The Secrets that the region's engines need."""
    return [KAFKA, POSTGRES, MQTT] if site.has_mosquitto else [KAFKA, POSTGRES]


def build_secret(site: Site, credential: Credential, generate: Callable[[], str]) -> Object:
    """A Secret with a fresh password a user. It has no owner: it outlives the region, as the volume does."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": labels.retained(site, credential.name(site.name), credential.component),
        "type": "Opaque",
        "stringData": {f"{user}-password": generate() for user in credential.users},
    }
