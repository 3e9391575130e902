"""All children of a region, in the order in which they are applied."""

from __future__ import annotations

from fleetmeter_operator.build import (
    config,
    consumer,
    disruption,
    gateway,
    kafka,
    migrations,
    mosquitto,
    policies,
    postgres,
    region_api,
)
from fleetmeter_operator.build.site import Object, Site


def build_children(site: Site) -> list[Object]:
    """Policies before pods, so that none is ever open; the rest at once, since workers wait for engines."""
    return [
        *policies.build(site),
        config.build(site),
        *kafka.build(site),
        *postgres.build(site),
        *mosquitto.build(site),
        migrations.build(site),
        *gateway.build(site),
        *consumer.build(site),
        *region_api.build(site),
        *disruption.build(site),
    ]
