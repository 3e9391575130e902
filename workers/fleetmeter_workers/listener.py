"""An HTTP port: it counts as well once it takes connections, and leaves signals to its process."""

import contextlib
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.applications import Starlette

from fleetmeter_workers.telemetry import Health

HEALTH_PART: Final = "http"


class Listener(uvicorn.Server):
    """Serves one application on one port."""

    def __init__(
        self,
        served: Starlette,
        host: str,
        port: int,
        drain_seconds: int,
        health: Health,
        part: str = HEALTH_PART,
    ) -> None:
        """`part` is what it is called where readiness is told; nothing is bound before it runs."""
        config = uvicorn.Config(
            served,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=drain_seconds,
        )
        super().__init__(config)
        self._health = health
        self._part = part
        health.unwell(part, "does not listen yet")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind the port, and say so."""
        await super().startup(sockets)
        if self.started:
            self._health.well(self._part)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing to capture."""
        yield
