"""The probes and a few numbers over HTTP: /healthz, /readyz, /metrics."""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable

from aiohttp import web

from fleetmeter_operator.reconcile.loop import Loop

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(loop: Loop) -> web.Application:
    """The web application; each probe answers 200 with `ok`, or 503 with what is wrong."""
    app = web.Application()
    app.router.add_get("/healthz", _probe(loop.alive))
    app.router.add_get("/readyz", _probe(loop.ready))
    app.router.add_get("/metrics", _metrics(loop))
    return app


async def serve(loop: Loop, listen: str, port: int) -> web.AppRunner:
    """Start to answer; the caller cleans the runner up."""
    runner = web.AppRunner(application(loop), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, listen, port).start()
    return runner


def _probe(check: Callable[[], str | None]) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        wrong = check()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    return answer


def _metrics(loop: Loop) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        passes = [
            f'fleetmeter_operator_reconciles_total{{kind="{kind}",result="{result}"}} {count}'
            for (kind, result), count in sorted(loop.queue.passes.items())
        ]
        lines = (
            "# TYPE fleetmeter_operator_reconciles_total counter",
            *passes,
            "# TYPE fleetmeter_operator_oldest_wait_seconds gauge",
            f"fleetmeter_operator_oldest_wait_seconds {loop.queue.oldest_wait():.3f}",
            "# TYPE fleetmeter_operator_peak_resident_bytes gauge",
            f"fleetmeter_operator_peak_resident_bytes {peak}",
        )
        return web.Response(text="\n".join(lines) + "\n")

    return answer
