"""Engines of a storm: Kafka and Postgres on loopback, with a proxy between them and every worker."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from fleetmeter_cluster.ports import LOOPBACK
from fleetmeter_local.engines import Kafka, Postgres
from fleetmeter_local.process import ProcessError

from .proxy import Proxy

TEMPLATE: Final = "storm_template"


class ProxiedKafka(Kafka):
    """A broker that names its proxy's address to clients, so that all their connections pass it."""

    def __init__(self, directory: Path, logs: Path) -> None:
        self.proxied: int | None = None
        super().__init__(directory, logs)

    @property
    def bootstrap(self) -> str:
        """The proxy's address, once there is one."""
        if self.proxied is None:
            self.proxy = Proxy(self.port)
            self.proxied = self.proxy.port
        return f"{LOOPBACK}:{self.proxied}"


@dataclass(frozen=True)
class Engines:
    """Running engines, and where workers reach them."""

    kafka: ProxiedKafka
    postgres: Postgres
    way_to_postgres: Proxy
    directory: Path
    logs: Path

    @property
    def way_to_kafka(self) -> Proxy:
        """The proxy before the broker."""
        return self.kafka.proxy

    def environment(self, database: str, user: str) -> dict[str, str]:
        """The engines' variables of a worker."""
        postgres = self.postgres.environment(database, user) | {"PGPORT": str(self.way_to_postgres.port)}
        return {**os.environ, **postgres, "FLEETMETER_KAFKA_BOOTSTRAP": self.kafka.bootstrap}

    def restart_postgres(self) -> None:
        """Start it after a kill, as often as the dead one's backends are in the way."""
        for _ in range(50):
            try:
                self.postgres.start()
                self.postgres.await_ready()
                return
            except ProcessError:
                continue
        raise ProcessError("Postgres does not start again")

    def session(self, database: str) -> "psycopg.Connection[Any]":
        """A superuser's session that does not pass the proxy."""
        return psycopg.connect(
            self.postgres.dsn(database), autocommit=True, options="-c search_path=fleetmeter"
        )


@contextmanager
def running_engines() -> Iterator[Engines]:
    """Engines with a migrated template database; everything is removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="fleetmeter-faults-"))
    directory.chmod(0o711)
    logs = directory / "logs"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        kafka, postgres = ProxiedKafka(directory, logs), Postgres(directory, logs)
        for engine in (kafka, postgres):
            stack.callback(engine.stop)
            engine.start()
        stack.enter_context(kafka.proxy)
        way = stack.enter_context(Proxy(postgres.port))
        kafka.await_ready()
        postgres.await_ready()
        engines = Engines(kafka, postgres, way, directory, logs)
        postgres.create_database(TEMPLATE)
        command = [sys.executable, "-m", "fleetmeter_workers", "migrate"]
        done = subprocess.run(
            command,
            env=engines.environment(TEMPLATE, "postgres"),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ProcessError(f"migrate failed: {done.stdout}{done.stderr}")
        yield engines
