"""The kinds that the operator touches, and where the API server serves them."""

from __future__ import annotations

from fleetmeter_operator.build.labels import API_VERSION

_SERVED = {
    "ConfigMap": ("v1", "configmaps"),
    "Event": ("v1", "events"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Pod": ("v1", "pods"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "Job": ("batch/v1", "jobs"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "BillingRegion": (API_VERSION, "billingregions"),
    "BillingPeriod": (API_VERSION, "billingperiods"),
    "PricingPlan": (API_VERSION, "pricingplans"),
}

CUSTOM = ("BillingRegion", "BillingPeriod", "PricingPlan")
CHILDREN = (
    "NetworkPolicy",
    "ConfigMap",
    "Service",
    "StatefulSet",
    "Job",
    "Deployment",
    "PodDisruptionBudget",
)


def api_version(kind: str) -> str:
    """The API version in which the operator speaks of `kind`."""
    return _SERVED[kind][0]


def plural(kind: str) -> str:
    """The resource's name in paths."""
    return _SERVED[kind][1]


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """The URL path of a kind's list, or of one object."""
    version, resource = _SERVED[kind]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    parts = [root, "namespaces", namespace, resource, name, subresource]
    return "/".join(part for part in parts if part)
