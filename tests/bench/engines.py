"""The engines of a measurement: Kafka and Postgres on loopback, in a directory that goes away afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetmeter_local.engines import Kafka, Postgres


@contextmanager
def directory() -> Iterator[Path]:
    """A directory that the engines' own accounts can enter."""
    made = Path(tempfile.mkdtemp(prefix="fleetmeter-bench-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def running_postgres(where: Path, **settings: str) -> Iterator[Postgres]:
    """A running PostgreSQL with the settings of the local line, but for those that are given."""
    engine = Postgres(where, where / "logs", settings=settings)
    engine.start()
    try:
        engine.await_ready()
        yield engine
    finally:
        engine.stop()


@contextmanager
def running_kafka(where: Path) -> Iterator[Kafka]:
    """A running Kafka."""
    engine = Kafka(where, where / "logs")
    engine.start()
    try:
        engine.await_ready()
        yield engine
    finally:
        engine.stop()
