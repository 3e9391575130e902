"""The loop: which reconciler serves a key, what marks it, and whether the operator makes progress."""

from __future__ import annotations

import asyncio
import logging
import random

from fleetmeter_operator.build.labels import PLAN, REGION
from fleetmeter_operator.build.site import Object
from fleetmeter_operator.cluster.client import ApiError, UnreachableError
from fleetmeter_operator.reconcile import period, plan, region
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.reconcile.queue import Key, Queue

_LOG = logging.getLogger("fleetmeter.operator")
_RECONCILERS = {
    region.KIND: region.reconcile,
    period.KIND: period.reconcile,
    plan.KIND: plan.reconcile,
}
_RETRY_SECONDS = 5.0
STUCK_SECONDS = 300.0


class Loop:
    """Turns observations into marks, marks into reconciliations, and looks at all again now and then."""

    def __init__(self, context: Context, resync_seconds: float) -> None:
        self._context = context
        self._resync_seconds = resync_seconds
        self._seen: dict[tuple[str, str], tuple[object, ...]] = {}
        self._resynced_at: float | None = None
        self.queue = Queue(self._reconcile)

    def observe(self, kind: str, name: str, body: Object, *, gone: bool = False) -> None:
        """Note that an object of `kind` was seen, changed or went, and mark what depends on it."""
        metadata = body.get("metadata", {})
        if kind == region.KIND:
            self._context.departures.note(body, gone=gone)
        if kind in _RECONCILERS and not self._changed(kind, name, body, gone):
            return  # only its status moved, and that was us
        owned = metadata.get("labels", {})
        if kind == period.KIND:
            self._mark_region(body.get("spec", {}).get("regionName", ""))
        elif kind == plan.KIND or PLAN in owned:
            self.queue.mark(Key(plan.KIND, owned.get(PLAN, name)))
        else:
            self._mark_region(name if kind == region.KIND else owned.get(REGION, ""))

    async def resync(self) -> None:
        """Mark everything, again and again, with jitter; this is what makes a lost event harmless."""
        while True:
            try:
                await self._mark_all()
            except (ApiError, UnreachableError) as error:
                _LOG.warning("resync: %s; tried again in %.0f s", error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(self._resync_seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)

    def ready(self) -> str | None:
        """What is wrong, or None while the API server was read within three resyncs."""
        if self._resynced_at is None:
            return "the API server has not been read yet"
        age = asyncio.get_running_loop().time() - self._resynced_at
        limit = 3 * self._resync_seconds + 30
        return None if age < limit else f"the API server was last read {age:.0f} s ago"

    def alive(self) -> str | None:
        """What is wrong, or None while work makes progress; an API server that is away is not our death."""
        wait = self.queue.oldest_wait()
        return None if wait < STUCK_SECONDS else f"a key has waited for {wait:.0f} s"

    async def _reconcile(self, key: Key) -> float | None:
        return await _RECONCILERS[key.kind](self._context, key.name)

    def _mark_region(self, name: str) -> None:
        if name:
            self.queue.mark(Key(region.KIND, name))
            self.queue.mark(Key(period.KIND, name))

    def _changed(self, kind: str, name: str, body: Object, gone: bool) -> bool:
        """Whether more than the status of a custom resource moved since it was last seen.

        A period's phase counts, because its region tells how many are final.
        """
        metadata = body.get("metadata", {})
        if gone:
            self._seen.pop((kind, name), None)
            return True
        annotations = tuple(sorted(metadata.get("annotations", {}).items()))
        finalizers = tuple(metadata.get("finalizers", ()))
        now = (metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"))
        phase = body.get("status", {}).get("phase") if kind == period.KIND else None
        seen = (*now, annotations, finalizers, phase)
        changed = self._seen.get((kind, name)) != seen
        self._seen[kind, name] = seen
        return changed

    async def _mark_all(self) -> None:
        client = self._context.client
        regions = {found["metadata"]["name"] for found in await client.list(region.KIND)}
        orphans = {found["spec"].get("regionName", "") for found in await client.list(period.KIND)}
        plans = [found["metadata"]["name"] for found in await client.list(plan.KIND)]
        for name in sorted(regions | orphans):
            self._mark_region(name)
        for name in plans:
            self.queue.mark(Key(plan.KIND, name))
        self._resynced_at = asyncio.get_running_loop().time()
