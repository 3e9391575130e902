"""A worker of the line as a process on loopback."""

import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from fleetmeter_cluster.ports import LOOPBACK, free_port
from fleetmeter_local.process import Process


class Worker:
    """One stage, `python -m fleetmeter_workers STAGE`, with ports of its own."""

    def __init__(self, stage: str, logs: Path, environment: Mapping[str, str]) -> None:
        """Describe the worker; `environment` names its engines and files."""
        self.port = free_port()
        self.status_port = free_port()
        self.metrics_port = free_port()
        self.process = Process(
            stage,
            [sys.executable, "-m", "fleetmeter_workers", stage],
            log=logs / f"{stage}.log",
            env={
                **environment,
                "FLEETMETER_LISTEN": LOOPBACK,
                "FLEETMETER_PORT": str(self.port),
                "FLEETMETER_STATUS_PORT": str(self.status_port),
                "FLEETMETER_METRICS_PORT": str(self.metrics_port),
            },
        )

    @property
    def url(self) -> str:
        """The address of the port that it serves people and devices on."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def status_url(self) -> str:
        """The address of the port that it serves the operator on."""
        return f"http://{LOOPBACK}:{self.status_port}"

    def start(self) -> None:
        """Start it."""
        self.process.start()

    def await_ready(self) -> None:
        """Return when it says that it is ready."""
        self.process.await_ready(self.ready)

    def ready(self) -> bool:
        """Whether its readiness probe succeeds."""
        return self._get("/readyz", 200) is not None

    def metrics(self) -> dict[str, float]:
        """Its metrics, name and labels as they are exposed."""
        text = self._get("/metrics", 200) or ""
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        self.process.stop(seconds=40)

    def _get(self, path: str, wanted: int) -> str | None:
        try:
            answer = httpx.get(f"http://{LOOPBACK}:{self.metrics_port}{path}", timeout=5, trust_env=False)
        except httpx.TransportError:
            return None
        return answer.text if answer.status_code == wanted else None
