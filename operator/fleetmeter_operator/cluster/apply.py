"""Writes that happen only where something differs: children, status, and what is no longer wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleetmeter_operator.build import labels
from fleetmeter_operator.build.digest import digest
from fleetmeter_operator.build.site import Object
from fleetmeter_operator.cluster import kinds
from fleetmeter_operator.cluster.client import ApiError, Client
from fleetmeter_operator.cluster.difference import holds

Live = Mapping[tuple[str, str], Object]


def by_name(objects: Iterable[Object]) -> dict[tuple[str, str], Object]:
    """Objects by kind and name."""
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}


def stamped(desired: Object) -> Object:
    """The object with the hash of itself: a field that is dropped changes the hash, so it is given up."""
    metadata = desired["metadata"]
    stamp = {labels.DESIRED_HASH: digest(desired, 16)}
    return {**desired, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **stamp}}}


async def apply(client: Client, live: Object | None, desired: Object) -> bool:
    """Make the object what is desired; True where that took a write.

    An object that is on its way out is left alone: it comes back once it is gone.
    """
    wanted = stamped(desired)
    if live is not None and (live["metadata"].get("deletionTimestamp") or holds(live, wanted)):
        return False
    await client.apply(wanted)
    return True


async def apply_each(client: Client, live: Live, desired: Iterable[Object]) -> list[str]:
    """Apply each object. What the API server refuses is told, and hinders none of the others."""
    refusals: list[str] = []
    for each in desired:
        kind, name = each["kind"], each["metadata"]["name"]
        try:
            await apply(client, live.get((kind, name)), each)
        except ApiError as error:
            refusals.append(f"{kind} {name} was refused ({error.reason}): {error.message}")
    return refusals


async def prune(client: Client, live: Live, desired: Iterable[Object], keep: Iterable[str] = ()) -> None:
    """Delete our objects that are no longer desired, except those of a component in `keep`."""
    wanted = {(each["kind"], each["metadata"]["name"]) for each in desired}
    kept = set(keep)
    for (kind, name), found in live.items():
        metadata = found["metadata"]
        ours = metadata.get("labels", {})
        if (kind, name) in wanted or kind not in kinds.CHILDREN or metadata.get("deletionTimestamp"):
            continue
        if ours.get(labels.MANAGED_BY) == labels.MANAGER and ours.get(labels.COMPONENT) not in kept:
            await client.delete(kind, name)


async def write_status(client: Client, live: Object, status: Mapping[str, Any]) -> bool:
    """Make the status of a custom resource this, where it is not; True where that took a write."""
    wanted = {key: value for key, value in status.items() if value is not None}
    if live.get("status", {}) == wanted:
        return False
    metadata = live["metadata"]
    body = {
        "apiVersion": kinds.api_version(live["kind"]),
        "kind": live["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "status": wanted,
    }
    try:
        await client.apply(body, "status")
    except ApiError as error:
        if error.status != 404:  # gone meanwhile: nothing is left to describe
            raise
    return True
