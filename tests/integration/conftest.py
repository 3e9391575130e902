"""Real engines on loopback: started once a session; a fresh database and topic for each test."""

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg
import pytest

from fleetmeter_cluster.progress import Steps
from fleetmeter_local.demo import bring_up, running_line
from fleetmeter_local.engines import Kafka, Mosquitto, Postgres
from fleetmeter_local.line import Line

TEMPLATE = "fleetmeter_template"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """A migrated database of one test."""

    server: Postgres
    name: str

    def dsn(self, user: str = "postgres") -> str:
        """A connection string for psycopg."""
        return self.server.dsn(self.name, user)

    def environment(self, user: str = "postgres") -> dict[str, str]:
        """The PG* variables of a worker."""
        return self.server.environment(self.name, user)


class Part(Protocol):
    """An engine or a worker."""

    def start(self) -> None: ...
    def await_ready(self) -> None: ...
    def stop(self) -> None: ...


P = TypeVar("P", bound=Part)


@contextmanager
def running(part: P) -> Generator[P]:
    """The part, ready, and stopped when the block ends."""
    part.start()
    try:
        part.await_ready()
        yield part
    finally:
        part.stop()


@contextmanager
def fresh_database(server: Postgres, template: str) -> Generator[Database]:
    """A copy of the template, dropped when the block ends."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    yield Database(server, name)
    server.drop_database(name)


@contextmanager
def fresh_topic(kafka: Kafka) -> Generator[str]:
    """The name of a new topic, deleted when the block ends."""
    name = f"usage-{next(_numbers)}"
    kafka.create_topic(name)
    yield name
    kafka.delete_topic(name)


@pytest.fixture(scope="session")
def engines_directory() -> Iterator[Path]:
    """A directory that the engines' own accounts can enter; pytest's is closed to them."""
    directory = Path(tempfile.mkdtemp(prefix="fleetmeter-tests-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def engine_logs(engines_directory: Path) -> Path:
    """Where the engines write their logs."""
    return engines_directory / "logs"


@pytest.fixture(scope="session")
def kafka(engines_directory: Path, engine_logs: Path) -> Iterator[Kafka]:
    """A running Kafka."""
    with running(Kafka(engines_directory, engine_logs)) as engine:
        yield engine


@pytest.fixture(scope="session")
def postgres(engines_directory: Path, engine_logs: Path) -> Iterator[Postgres]:
    """A running PostgreSQL."""
    with running(Postgres(engines_directory, engine_logs)) as engine:
        yield engine


@pytest.fixture(scope="session")
def mosquitto(engines_directory: Path, engine_logs: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto with the region's users."""
    with running(Mosquitto(engines_directory, engine_logs)) as engine:
        yield engine


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres, kafka: Kafka) -> str:
    """The name of a migrated database that the tests' databases are copied from."""
    postgres.create_database(TEMPLATE)
    environment = {
        **postgres.environment(TEMPLATE),
        "FLEETMETER_KAFKA_BOOTSTRAP": kafka.bootstrap,
    }
    command = [sys.executable, "-m", "fleetmeter_workers", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"migrate failed:\n{done.stdout}\n{done.stderr}"
    return TEMPLATE


@pytest.fixture
def database(postgres: Postgres, migrated_template: str) -> Iterator[Database]:
    """A fresh migrated database."""
    with fresh_database(postgres, migrated_template) as made:
        yield made


@pytest.fixture
def line() -> Iterator[Line]:
    """The whole running line of the example region: engines of its own, gateway, consumer and region API."""
    with running_line() as running, Steps("the line") as steps:
        bring_up(steps, running)
        yield running


@pytest.fixture
def topic(kafka: Kafka) -> Iterator[str]:
    """A fresh topic with four partitions and LogAppendTime."""
    with fresh_topic(kafka) as name:
        yield name
