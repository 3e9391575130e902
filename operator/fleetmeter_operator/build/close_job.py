"""The close Job: one attempt to seal, price and invoice one billing period."""

from __future__ import annotations

from collections.abc import Sequence

from fleetmeter_operator.build import config, kafka, labels, pods, postgres, workers
from fleetmeter_operator.build.digest import digest
from fleetmeter_operator.build.site import Object, Site

COMPONENT = "close"
DATA_ERROR = 65
NOT_YET = 75
_DEADLINE_SECONDS = 6 * 3600
_KEPT_SECONDS = 7 * 86400


def job_name(period: str, attempt: int) -> str:
    """The name of a period's n-th attempt, counted from 1."""
    return f"{period}-close-{attempt}"


def inputs_hash(site: Site, plans: Sequence[str]) -> str:
    """The hash of what the cluster gives an attempt: the region, the image, the plans."""
    return digest([config.region_document(site), site.images.workers, sorted(plans)])


def build(
    site: Site, period: str, period_uid: str, attempt: int, plans: Sequence[str], inputs: str
) -> Object:
    """One attempt. `plans` names the plan ConfigMaps that it prices by; `inputs` hashes all it depends on.

    A data error and a refusal for now end the Job at once, since a retry gives the same answer; a crash is
    tried twice more; an evicted pod does not count.
    """
    mounted = [config.region(site), config.seller(site), config.plans(plans)]
    body = workers.stage_container(
        site,
        COMPONENT,
        ["--billing-period", period],
        [*kafka.client_env(site, "consumer"), *postgres.client_env(site, "closer")],
        mounted,
        resources=pods.memory("128Mi", "1Gi"),
    )
    pod_labels = {**labels.part_labels(site.name, COMPONENT), labels.PERIOD: period}
    metadata: Object = {
        "name": job_name(period, attempt),
        "namespace": site.namespace,
        "labels": {**pod_labels, labels.ATTEMPT: str(attempt)},
        "annotations": {labels.INPUTS: inputs},
        "ownerReferences": [labels.owner("BillingPeriod", period, period_uid)],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 2,
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": pods.pod(
                pod_labels,
                body,
                site.images,
                volumes=config.volumes(mounted),
                restartPolicy="Never",
            ),
        },
    }


def _failure_rules() -> list[Object]:
    return [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": COMPONENT, "operator": "In", "values": [DATA_ERROR, NOT_YET]},
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
