"""The migrations Job: the ledger's schema, its roles and the queue's topic, once for each image and spec."""

from __future__ import annotations

from fleetmeter_operator.build import config, kafka, labels, pods, postgres, secrets, workers
from fleetmeter_operator.build.digest import digest
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "migrate"
DEADLINE_SECONDS = 1800


def build(site: Site) -> Object:
    """The Job, named by the hash of what it runs: a new image or spec is a new Job, never an edited one."""
    mounted = [config.region(site)]
    body = workers.stage_container(
        site,
        COMPONENT,
        [],
        [
            *kafka.client_env(site, "admin"),
            *postgres.client_env(site, postgres.SUPERUSER),
            *_role_passwords(site),
        ],
        mounted,
        resources=pods.memory("96Mi", "384Mi"),
    )
    template = pods.pod(
        labels.part_labels(site.name, COMPONENT),
        body,
        site.images,
        volumes=config.volumes(mounted),
        restartPolicy="Never",
    )
    spec: Object = {
        "backoffLimit": 10,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": template,
    }
    # A Job cannot be edited, so its name hashes its whole spec and the region's file.
    name = f"{site.part(COMPONENT)}-{digest([spec, config.region_document(site)], 8)}"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": labels.owned(site, name, COMPONENT),
        "spec": spec,
    }


def _role_passwords(site: Site) -> list[Object]:
    secret = secrets.POSTGRES.name(site.name)
    return [
        pods.from_secret(f"FLEETMETER_ROLE_PASSWORD_{role.upper()}", secret, f"{role}-password")
        for role in ("consumer", "closer", "api", "gateway")
    ]
