"""The whole line of one region: three engines and three workers, on loopback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from fleetmeter_cluster.ports import LOOPBACK
from fleetmeter_local.engines import Kafka, Mosquitto, Postgres
from fleetmeter_local.process import Process, ProcessError
from fleetmeter_local.region_files import RegionFiles
from fleetmeter_local.worker import Worker

DATABASE = "fleetmeter"
FLEETMETER = str(Path(sys.executable).with_name("fleetmeter"))


class Line:
    """Engines and workers in one directory. Start it from a main thread; `stop` ends whatever was started."""

    def __init__(self, directory: Path, example: Path) -> None:
        """Describe the line of the region in `example`; only files are written."""
        self.directory = directory
        self.logs = directory / "logs"
        self.files = RegionFiles(directory / "files", example)
        self.kafka = Kafka(directory, self.logs)
        self.mosquitto = Mosquitto(directory, self.logs)
        self.postgres = Postgres(directory, self.logs)
        self.gateway = self._worker("gateway", "gateway", self._mqtt())
        self.consumer = self._worker("consumer", "consumer")
        self.api = self._worker("api", "api")
        self.database = DATABASE
        self._jobs: list[Process] = []

    @property
    def region(self) -> str:
        """The region's name."""
        return self.files.region.name

    def start_engines(self) -> None:
        """Start Kafka, Mosquitto and PostgreSQL side by side."""
        for engine in (self.kafka, self.mosquitto, self.postgres):
            engine.start()

    def await_engines(self) -> None:
        """Return when all three answer and the database is made."""
        for engine in (self.mosquitto, self.postgres, self.kafka):
            engine.await_ready()
        self.postgres.create_database(DATABASE)

    def migrate(self) -> None:
        """Make the ledger's schema and the topic. Raises ProcessError when that fails."""
        job = self._job("migrate", self.postgres.environment(DATABASE), "migrate")
        self._succeed(job)

    def start_workers(self) -> None:
        """Start gateway, consumer and region API."""
        for worker in self.workers:
            worker.start()

    def await_workers(self) -> None:
        """Return when all three are ready and every contract is loaded."""
        for worker in self.workers:
            worker.await_ready()
        self.api.process.await_ready(self._contracts_loaded)

    @property
    def processes(self) -> list[Process]:
        """All that runs all the time."""
        return [part.process for part in (self.kafka, self.mosquitto, self.postgres, *self.workers)]

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that run all the time."""
        return self.gateway, self.consumer, self.api

    def close(self, billing_period: str) -> None:
        """Seal a billing period and write its invoices. Raises ProcessError when it could not be closed."""
        environment = self.postgres.environment(DATABASE, "closer")
        job = self._job(f"close-{billing_period}", environment, "close", "--billing-period", billing_period)
        self._succeed(job)

    def load(self, trace: Path, adapter: str, backfill: str) -> Process:
        """Start `fleetmeter load` of a trace as history, through the MQTT entrance."""
        command = [FLEETMETER, "load", str(trace)]
        command += [
            "--adapter",
            adapter,
            "--backfill",
            backfill,
            "--mqtt",
            f"{LOOPBACK}:{self.mosquitto.port}",
        ]
        command += ["--password-env", "FLEETMETER_MQTT_PASSWORD"]
        environment = {"FLEETMETER_MQTT_PASSWORD": self.mosquitto.passwords["backfill"]}
        job = Process(f"load-{trace.name}", command, log=self.logs / "load.log", env=environment)
        self._jobs.append(job)
        job.start()
        return job

    def save_invoices(self, folder: Path) -> None:
        """Write every invoice as JSON and as a page. Raises ProcessError when that fails."""
        command = [FLEETMETER, "--api", self.api.url, "invoices", "save", str(folder)]
        job = Process("save", command, log=self.logs / "save.log", env=self._reader())
        self._jobs.append(job)
        self._succeed(job)

    def show(self, *words: str) -> None:
        """Ask the region API with the fleetmeter command, for the person at this terminal.

        Raises ProcessError when it fails.
        """
        sys.stdout.flush()
        command = [FLEETMETER, "--api", self.api.url, *words]
        if subprocess.run(command, env=os.environ | self._reader(), check=False).returncode:  # noqa: S603
            raise ProcessError(f"`fleetmeter {' '.join(words)}` failed: see above")

    def call(
        self, method: str, path: str, *, content: bytes | None = None, role: str = "admin"
    ) -> httpx.Response:
        """Ask the region API as a role. Raises ProcessError for any answer that is no success."""
        headers = {"Authorization": f"Bearer {self.files.tokens[role]}"}
        url = f"{self.api.url}{path}"
        answer = httpx.request(method, url, content=content, headers=headers, timeout=60, trust_env=False)
        if answer.is_error:
            raise ProcessError(f"the region API answers {answer.status_code} to {path}: {answer.text[:500]}")
        return answer

    def status(self) -> dict[str, Any]:
        """What the region says of itself to its operator."""
        return (
            httpx.get(f"{self.api.status_url}/status", timeout=60, trust_env=False).raise_for_status().json()
        )

    def stop(self) -> None:
        """End all that runs, workers first."""
        for job in self._jobs:
            job.kill()
        for worker in self.workers:
            worker.process.ask_to_end()
        for worker in self.workers:
            worker.stop()
        for engine in (self.kafka, self.mosquitto, self.postgres):
            engine.stop()

    def _contracts_loaded(self) -> bool:
        return int(self.status()["contracts"]["loaded"]) == self.files.contracts

    def _worker(self, stage: str, role: str, extra: dict[str, str] | None = None) -> Worker:
        environment = self.postgres.environment(DATABASE, role) | self._shared() | (extra or {})
        return Worker(stage, self.logs, environment)

    def _job(self, name: str, environment: dict[str, str], *words: str) -> Process:
        command = [sys.executable, "-m", "fleetmeter_workers", *words]
        job = Process(name, command, log=self.logs / f"{name}.log", env=environment | self._shared())
        self._jobs.append(job)
        return job

    def _succeed(self, job: Process) -> None:
        job.start()
        code = job.await_end(seconds=600)
        if code:
            raise ProcessError(f"{job.name} ended with code {code}. {job.last_words()}")

    def _reader(self) -> dict[str, str]:
        return {"FLEETMETER_TOKEN": self.files.tokens["reader"]}

    def _shared(self) -> dict[str, str]:
        return {"FLEETMETER_KAFKA_BOOTSTRAP": self.kafka.bootstrap, **self.files.environment()}

    def _mqtt(self) -> dict[str, str]:
        return {
            "FLEETMETER_MQTT_HOST": LOOPBACK,
            "FLEETMETER_MQTT_PORT": str(self.mosquitto.port),
            "FLEETMETER_MQTT_USER": "gateway",
            "FLEETMETER_MQTT_PASSWORD": self.mosquitto.passwords["gateway"],
        }
