"""Labels, selectors and ownership of a region's children."""

from __future__ import annotations

from fleetmeter_operator.build.site import Object, Site

GROUP = "fleetmeter.io"
API_VERSION = f"{GROUP}/v1alpha1"
MANAGER = "fleetmeter-operator"

REGION = f"{GROUP}/region"
PERIOD = f"{GROUP}/period"
PLAN = f"{GROUP}/plan"
ATTEMPT = f"{GROUP}/attempt"
INPUTS = f"{GROUP}/inputs"
CONFIG_HASH = f"{GROUP}/config-hash"
START_HASH = f"{GROUP}/start-hash"
DESIRED_HASH = f"{GROUP}/desired-hash"
CLOSE_REQUESTED = f"{GROUP}/close-requested"
DELETE_DATA = f"{GROUP}/delete-data"

COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED = f"{MANAGED_BY}={MANAGER}"


def region_labels(region: str) -> dict[str, str]:
    """The labels of everything that belongs to `region`."""
    return {
        "app.kubernetes.io/name": "fleetmeter",
        "app.kubernetes.io/instance": region,
        MANAGED_BY: MANAGER,
        REGION: region,
    }


def part_labels(region: str, component: str) -> dict[str, str]:
    """The labels of one component's objects and pods."""
    return {**region_labels(region), COMPONENT: component}


def part_selector(region: str, component: str) -> dict[str, str]:
    """What picks the pods of one component: few labels, since selectors never change."""
    return {REGION: region, COMPONENT: component}


def owner(kind: str, name: str, uid: str) -> Object:
    """A reference that lets the garbage collector delete a child with its owner."""
    return {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid, "controller": True}


def owned(site: Site, name: str, component: str) -> Object:
    """Metadata of a child that goes when the region goes."""
    return {
        **retained(site, name, component),
        "ownerReferences": [owner("BillingRegion", site.name, site.uid)],
    }


def retained(site: Site, name: str, component: str) -> Object:
    """Metadata of a child that outlives the region: no owner, so that the garbage collector leaves it."""
    return {"name": name, "namespace": site.namespace, "labels": part_labels(site.name, component)}
