"""The queue of keys to look at: a mark is a wish, never a message, so many marks are one look."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleetmeter_operator.cluster.client import ApiError, UnreachableError

_LOG = logging.getLogger("fleetmeter.operator")
_SETTLE_SECONDS = 0.2
_LEAST_INTERVAL_SECONDS = 1.0
_FIRST_BACKOFF_SECONDS = 1.0
_MOST_BACKOFF_SECONDS = 60.0
_AT_ONCE = 4


@dataclass(frozen=True, order=True)
class Key:
    """One thing to reconcile: a BillingRegion, the BillingPeriods of a region, or a PricingPlan."""

    kind: str
    name: str


Reconcile = Callable[[Key], Awaitable[float | None]]


class Queue:
    """Runs `reconcile` for each marked key: never one key twice at once, nor more often than once a second.

    A key that fails comes back with a growing pause, and stops no other.
    """

    def __init__(self, reconcile: Reconcile) -> None:
        self._reconcile = reconcile
        self._due: dict[Key, float] = {}
        self._running: dict[Key, tuple[float, asyncio.Task[None]]] = {}
        self._failures: dict[Key, int] = {}
        self._ended: dict[Key, float] = {}
        self._wake = asyncio.Event()
        self.passes: Counter[tuple[str, str]] = Counter()

    def mark(self, key: Key, after: float = _SETTLE_SECONDS) -> None:
        """Ask for a look at `key` in `after` seconds at the latest."""
        now = asyncio.get_running_loop().time()
        earliest = self._ended.get(key, 0.0) + _LEAST_INTERVAL_SECONDS
        due = max(now + after, earliest)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._wake.set()

    def oldest_wait(self) -> float:
        """For how long, in seconds, the most neglected key has been due or running; 0 when none is."""
        now = asyncio.get_running_loop().time()
        waits = [now - since for since in self._due.values()]
        waits += [now - since for since, _ in self._running.values()]
        return max([0.0, *waits])

    async def run(self) -> None:
        """Serve the queue until cancelled; what runs then is cancelled too."""
        try:
            while True:
                self._start_due()
                self._wake.clear()
                timeout = self._until_next()
                try:
                    await asyncio.wait_for(self._wake.wait(), timeout)
                except TimeoutError:
                    continue
        finally:
            for _, task in self._running.values():
                task.cancel()

    def _start_due(self) -> None:
        now = asyncio.get_running_loop().time()
        for key in sorted(self._due, key=lambda key: self._due[key]):
            if len(self._running) >= _AT_ONCE or self._due[key] > now:
                return
            if key not in self._running:
                del self._due[key]
                self._running[key] = (
                    now,
                    asyncio.create_task(self._serve(key), name=f"{key.kind} {key.name}"),
                )

    def _until_next(self) -> float | None:
        waiting = [due for key, due in self._due.items() if key not in self._running]
        if not waiting or len(self._running) >= _AT_ONCE:
            return None  # a task that ends wakes the loop
        return max(0.0, min(waiting) - asyncio.get_running_loop().time())

    async def _serve(self, key: Key) -> None:
        again: float | None = None
        result = "failed"
        try:
            again = await self._reconcile(key)
            result = "done"
            self._failures.pop(key, None)
        except (ApiError, UnreachableError) as error:
            again = self._backoff(key)
            _LOG.warning("%s %s: %s; tried again in %.0f s", key.kind, key.name, error, again)
        except Exception:  # noqa: BLE001 (a defect met by one key must not stop the others)
            again = self._backoff(key)
            _LOG.exception("%s %s: unexpected; tried again in %.0f s", key.kind, key.name, again)
        finally:
            self._running.pop(key, None)
            self._ended[key] = asyncio.get_running_loop().time()
            self.passes[key.kind, result] += 1
            self._wake.set()
        if again is not None:
            self.mark(key, again)

    def _backoff(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return min(_FIRST_BACKOFF_SECONDS * 2 ** min(failures, 10), _MOST_BACKOFF_SECONDS)
