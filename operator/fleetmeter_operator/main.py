"""The operator's process: settings, connection, loop, kopf and probes, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Awaitable
from datetime import UTC, datetime

import aiohttp
import kopf

from fleetmeter_operator import health, logs
from fleetmeter_operator.cluster.client import ApiError, Client, UnreachableError
from fleetmeter_operator.cluster.connection import ConnectionSettingsError, connection
from fleetmeter_operator.cluster.report import Reports
from fleetmeter_operator.handlers import registry
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.reconcile.loop import Loop
from fleetmeter_operator.settings import Settings, SettingsError

_LOG = logging.getLogger("fleetmeter.operator")
_CRD_POLL_SECONDS = 5.0
_STOP_SECONDS = 20.0


def main() -> None:
    """Run until SIGTERM or SIGINT.

    Exits 1 where a task of it died, so that the kubelet starts it anew, and 2 where a setting is wrong.
    """
    logs.configure()
    try:
        settings = Settings.from_env(os.environ)
        asyncio.run(_run(settings))
    except (SettingsError, ConnectionSettingsError) as error:
        _LOG.error("%s", error)
        sys.exit(2)


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        Client(connection(os.environ), settings.namespace) as client,
        aiohttp.ClientSession() as session,
    ):
        context = Context(
            client=client,
            reports=Reports(session, settings.status_url, settings.namespace),
            images=settings.images,
            jurisdiction=settings.jurisdiction,
            clock=lambda: datetime.now(UTC),
            generate=lambda: secrets.token_urlsafe(24),
            metrics_from=settings.metrics_from,
        )
        loop = Loop(context, settings.resync_seconds)
        probes = await health.serve(loop, settings.listen, settings.port)
        _LOG.info("serves namespace %s, jurisdiction %s", settings.namespace, settings.jurisdiction)
        try:
            if await _first(_until_served(client), stop):
                await _serve(loop, settings, stop)
        finally:
            await probes.cleanup()


async def _serve(loop: Loop, settings: Settings, stop: asyncio.Event) -> None:
    """Run kopf's watches, the queue and the resync side by side; the death of one is the death of all."""
    handlers = registry.registry(loop)

    async def stopping(**_: object) -> None:
        stop.set()

    # kopf takes the signals over, and waits 5 s for tasks that are not its own: ours end with its watches.
    kopf.on.cleanup(registry=handlers)(stopping)
    watches = kopf.operator(
        registry=handlers,
        settings=registry.settings(),
        namespaces=[settings.namespace],
        standalone=True,
        stop_flag=stop,
    )
    watching = asyncio.create_task(watches)
    working = [asyncio.create_task(loop.queue.run()), asyncio.create_task(loop.resync())]
    told = asyncio.create_task(stop.wait())
    await asyncio.wait([watching, *working, told], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    for task in working:
        task.cancel()
    ended, _ = await asyncio.wait([watching, *working], timeout=_STOP_SECONDS)
    for task in ended:
        if not task.cancelled() and (failure := task.exception()) is not None:
            _LOG.error("stops, since a task of it failed: %r", failure)
            sys.exit(1)


async def _until_served(client: Client) -> None:
    """Wait for the custom kinds: kopf looks for them once, and would stay deaf to kinds that come later."""
    told = False
    while True:
        try:
            if await client.serves():
                return
            reason = "the custom resource definitions are not installed; install the chart fleetmeter-crds"
        except (ApiError, UnreachableError) as error:
            reason = f"the API server does not answer: {error}"
        if not told:
            _LOG.warning("waits: %s", reason)
            told = True
        await asyncio.sleep(_CRD_POLL_SECONDS)


async def _first(work: Awaitable[None], stop: asyncio.Event) -> bool:
    """Whether the work ended before the process was told to stop."""
    task, stopped = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        await task  # a failure goes up
        return True
    task.cancel()
    return False
