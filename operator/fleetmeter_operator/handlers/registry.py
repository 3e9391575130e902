"""The handlers, and kopf's settings: watched events mark keys; kopf itself writes nothing to any object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kopf

from fleetmeter_operator.build.labels import MANAGED, MANAGED_BY, MANAGER
from fleetmeter_operator.cluster import kinds
from fleetmeter_operator.reconcile.loop import Loop

_WATCHED_CHILDREN = (*kinds.CHILDREN, "PersistentVolumeClaim", "Pod")


class _Backoffs:
    """Endless pauses with a cap: an API server that is away is waited for, not died of."""

    def __iter__(self) -> Iterator[float]:
        yield from (1, 2, 3, 5, 8)
        while True:
            yield 10


def registry(loop: Loop) -> kopf.OperatorRegistry:
    """Handlers of the custom kinds and of the children that carry our label."""
    handlers = kopf.OperatorRegistry()

    def seen(type: str | None, resource: Any, name: str | None, body: Any, **_: object) -> None:  # noqa: A002 (kopf's name)
        loop.observe(resource.kind, name or "", body, gone=type == "DELETED")

    async def handler(**event: Any) -> None:
        seen(**event)

    for kind in kinds.CUSTOM:
        kopf.on.event(*_resource(kind), id=kind, registry=handlers)(handler)
    for kind in _WATCHED_CHILDREN:
        ours = {MANAGED_BY: MANAGER}
        kopf.on.event(*_resource(kind), id=kind, labels=ours, registry=handlers)(handler)
    kopf.on.login(registry=handlers)(_login)
    return handlers


def settings() -> kopf.OperatorSettings:
    """Namespaced, alone, silent: no scanning, no peering, no events of its own, no state in objects."""
    configured = kopf.OperatorSettings()
    configured.posting.enabled = False
    configured.scanning.disabled = True
    configured.peering.standalone = True
    configured.networking.request_timeout = 30
    configured.networking.connect_timeout = 5
    configured.networking.error_backoffs = _Backoffs()
    configured.watching.connect_timeout = 5
    configured.watching.server_timeout = 300
    configured.watching.client_timeout = 330
    configured.watching.chunk_size = 200
    configured.process.ultimate_exiting_timeout = 20
    configured.queueing.idle_timeout = 1
    configured.execution.max_workers = 1
    for kind in _WATCHED_CHILDREN:
        configured.watching.label_selectors[_resource(kind)] = MANAGED
    return configured


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def _resource(kind: str) -> tuple[str, str, str]:
    version = kinds.api_version(kind)
    group, _, short = version.rpartition("/")
    return group, short, kinds.plural(kind)
