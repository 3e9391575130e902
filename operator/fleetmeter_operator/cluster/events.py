"""Kubernetes Events: the few things that a person should hear about, once each."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from fleetmeter_operator.build.labels import MANAGER
from fleetmeter_operator.build.site import Object
from fleetmeter_operator.cluster import kinds
from fleetmeter_operator.cluster.client import ApiError, Client, UnreachableError
from fleetmeter_operator.status.announcement import Announcement


async def announce(client: Client, about: Object, announcement: Announcement, now: datetime) -> None:
    """Post one Event. An Event that cannot be posted is no reason to stop: the condition says the same."""
    metadata = about["metadata"]
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": kinds.api_version(about["kind"]),
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning" if announcement.warning else "Normal",
        "reason": announcement.reason,
        "message": announcement.message[:1000],
        "source": {"component": MANAGER},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    try:
        await client.create(body)
    except (ApiError, UnreachableError):
        return
