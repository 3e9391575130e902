"""How a worker is seen from outside: JSON log lines, metrics, and true health answers."""

import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest


def configure_logging(stage: str) -> structlog.stdlib.BoundLogger:
    """Send one JSON object a line to standard output; returns the stage's logger.

    Callers log counts, codes, offsets and period names; never a payload, a device, a customer or a secret.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger().bind(stage=stage)


class Health:
    """What a worker knows about itself. Ready: every named part is well. Alive: the loop beat lately."""

    def __init__(self, parts: tuple[str, ...] = (), *, stall_seconds: float | None = None) -> None:
        """Each of `parts` starts as not ready; without `stall_seconds` the worker is alive while it
        answers."""
        self._lock = threading.Lock()
        self._trouble: dict[str, str] = dict.fromkeys(parts, "not yet reached")
        self._stall_seconds = stall_seconds
        self._last_beat = time.monotonic()

    def well(self, part: str) -> None:
        """The part works."""
        with self._lock:
            self._trouble.pop(part, None)

    def unwell(self, part: str, message: str) -> None:
        """The part does not work; the message is shown by /readyz."""
        with self._lock:
            self._trouble[part] = message

    def beat(self) -> None:
        """The main loop went round; waiting for an engine counts as going round."""
        self._last_beat = time.monotonic()

    def trouble(self) -> dict[str, str]:
        """Parts that do not work, with the reason; empty when the worker is ready."""
        with self._lock:
            return dict(self._trouble)

    def alive(self) -> bool:
        """Whether the main loop still turns."""
        if self._stall_seconds is None:
            return True
        return time.monotonic() - self._last_beat < self._stall_seconds


class _Handler(BaseHTTPRequestHandler):
    """Answers /metrics, /healthz and /readyz."""

    server_version = "fleetmeter"
    sys_version = ""
    health: Health

    def do_GET(self) -> None:
        """Serve one of the three paths."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            alive = self.health.alive()
            self._answer(200 if alive else 503, b"ok\n" if alive else b"the main loop has stopped\n")
        elif path == "/readyz":
            trouble = self.health.trouble()
            lines = "".join(f"{part}: {message}\n" for part, message in sorted(trouble.items()))
            self._answer(503 if trouble else 200, lines.encode() or b"ok\n")
        else:
            self._answer(404, b"try /metrics, /healthz or /readyz\n")

    def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        """Probes are not worth a log line."""


class TelemetryServer:
    """The metrics port of a worker, served by a daemon thread from construction to `close`."""

    def __init__(self, listen: str, port: int, health: Health) -> None:
        """Bind `listen:port` (0 = any free port) and answer; raises OSError when the port is taken."""
        handler = type("Handler", (_Handler,), {"health": health})
        self._server = ThreadingHTTPServer((listen, port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.server_address[1]

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
