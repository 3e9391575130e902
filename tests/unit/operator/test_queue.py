"""The queue: many marks are one look, a failure comes back, and one key never stops another."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from fleetmeter_operator.cluster.client import UnreachableError
from fleetmeter_operator.reconcile.queue import Key, Queue
from fleetmeter_operator.settings import Settings, SettingsError

A, B = Key("BillingRegion", "a"), Key("BillingRegion", "b")


def serve(
    reconcile: Callable[[Key], Awaitable[float | None]], until: Callable[[Queue], bool], *keys: Key
) -> Queue:
    """Run a queue over the keys until the condition holds."""

    async def run() -> Queue:
        queue = Queue(reconcile)
        for key in keys:
            queue.mark(key, 0)
        task = asyncio.create_task(queue.run())
        async with asyncio.timeout(20):
            while not until(queue):  # noqa: ASYNC110 (what is waited for is a count, not an event)
                await asyncio.sleep(0.02)
        task.cancel()
        return queue

    return asyncio.run(run())


def test_many_marks_are_one_look() -> None:
    looks: Counter[Key] = Counter()

    async def reconcile(key: Key) -> None:
        looks[key] += 1

    serve(reconcile, lambda _: looks[B] > 0, A, A, A, A, B)
    assert looks == {A: 1, B: 1}


def test_a_key_is_never_served_twice_at_once_and_a_mark_meanwhile_is_kept() -> None:
    running: Counter[Key] = Counter()
    most: Counter[Key] = Counter()
    looks: Counter[Key] = Counter()

    async def reconcile(key: Key) -> None:
        looks[key] += 1
        running[key] += 1
        most[key] = max(most[key], running[key])
        await asyncio.sleep(0.3)
        running[key] -= 1

    def mark_meanwhile(queue: Queue) -> bool:
        if running[A] and looks[A] == 1:
            queue.mark(A, 0)
        return looks[A] == 2 and not running[A]

    serve(reconcile, mark_meanwhile, A)
    assert (most[A], looks[A]) == (1, 2)


@pytest.mark.parametrize("error", [UnreachableError("away"), KeyError("a defect")])
def test_a_key_that_fails_comes_back_and_stops_no_other(error: Exception) -> None:
    looks: Counter[Key] = Counter()

    async def reconcile(key: Key) -> None:
        looks[key] += 1
        if key == A and looks[A] < 2:
            raise error

    queue = serve(reconcile, lambda queue: queue.passes[A.kind, "done"] >= 2, A, B)
    assert looks == {A: 2, B: 1}
    assert queue.passes[A.kind, "failed"] == 1


def test_a_key_that_hangs_shows_as_waiting() -> None:
    async def run() -> float:
        queue = Queue(lambda _: asyncio.sleep(60))
        queue.mark(A, 0)
        task = asyncio.create_task(queue.run())
        await asyncio.sleep(0.3)
        waited = queue.oldest_wait()
        task.cancel()
        return waited

    assert asyncio.run(run()) > 0.1


ENV = {
    "WATCH_NAMESPACE": "fleet",
    "JURISDICTION": "EU",
    "FLEETMETER_IMAGES": '{"workers": "w", "kafka": "k", "postgres": "p", "mosquitto": "m"}',
}


def test_settings_come_from_the_environment() -> None:
    peers = '[{"podSelector": {"matchLabels": {"app": "watch"}}}]'
    settings = Settings.from_env(
        {**ENV, "FLEETMETER_IMAGE_PULL_SECRETS": "a,b", "FLEETMETER_METRICS_FROM": peers}
    )
    assert settings.metrics_from == ({"podSelector": {"matchLabels": {"app": "watch"}}},)
    assert Settings.from_env(ENV).metrics_from == ()
    assert (settings.namespace, settings.jurisdiction) == ("fleet", "EU")
    assert (settings.images.kafka, settings.images.pull_secrets) == ("k", ("a", "b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WATCH_NAMESPACE", ""),
        ("JURISDICTION", "eu"),
        ("FLEETMETER_IMAGES", "{}"),
        ("FLEETMETER_IMAGES", "x"),
        ("FLEETMETER_PORT", "http"),
        ("FLEETMETER_METRICS_FROM", "anyone"),
        ("FLEETMETER_METRICS_FROM", "[1]"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({**ENV, name: value})
