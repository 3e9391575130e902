"""A region's API as a process, on a real ledger and a real topic."""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import psycopg
import pytest
import yaml

from fleetmeter_local.engines import Kafka, Postgres
from fleetmeter_local.worker import Worker

REGION: dict[str, Any] = {
    "name": "eu",
    "spec": {
        "jurisdiction": "EU",
        "calendar": {
            "interval": "Month",
            "timeZone": "Europe/Paris",
            "firstPeriod": "2023-01-01",
            "lastPeriod": "2023-03-01",
        },
        "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
        "invoicing": {"sellerSecretName": "seller", "series": "EU"},
        "backfill": {"from": "2022-12-31T23:00:00Z", "to": "2023-02-28T23:00:00Z"},
        "broker": {"type": "Embedded"},
        "store": {"type": "Embedded"},
    },
}


class _Database(Protocol):
    def dsn(self, user: str = "postgres") -> str: ...

    def environment(self, user: str = "postgres") -> dict[str, str]: ...


@dataclass
class RegionApi:
    """The running API, its files, and the ways to ask it."""

    worker: Worker
    contracts: Path
    database: _Database
    topic: str
    kafka: Kafka

    def get(self, path: str, role: str | None = "reader", **query: str) -> httpx.Response:
        return self._ask("GET", path, role, params=query)

    def post(self, path: str, body: str = "", role: str | None = "operator") -> httpx.Response:
        return self._ask("POST", path, role, content=body.encode())

    def status(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.worker.status_url}/status", timeout=20, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ledger(self, role: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.database.dsn(role), autocommit=True)

    def await_contracts(self, loaded: int, refused: int = 0) -> dict[str, Any]:
        """The list of contracts once it has these sizes."""
        return wait_for(
            lambda: self.get("/v1/contracts").json(),
            lambda found: len(found["contracts"]) == loaded and len(found["refused"]) == refused,
        )

    def await_ready(self, ready: bool) -> None:
        """Wait until the readiness probe says so."""
        wait_for(self.worker.ready, lambda found: found == ready)

    def _ask(self, method: str, path: str, role: str | None, **rest: Any) -> httpx.Response:
        headers = {} if role is None else {"Authorization": f"Bearer {role}-token"}
        return httpx.request(
            method, f"{self.worker.url}{path}", headers=headers, timeout=20, trust_env=False, **rest
        )


def wait_for(read: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 30) -> Any:
    """The first reading that is wanted; fails with the last one after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = read()
        if wanted(found):
            return found
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.1)


@pytest.fixture
def region() -> dict[str, Any]:
    """The region's document; a test may override the fixture or change it before the API starts."""
    return json.loads(json.dumps(REGION))


@contextmanager
def _serving(
    database: _Database, topic: str, kafka: Kafka, region: dict[str, Any], folder: Path
) -> Generator[RegionApi]:
    contracts = folder / "contracts"
    contracts.mkdir()
    roles = ("reader", "operator", "admin", "ingest", "backfill")
    tokens = [
        {"name": f"{role}-name", "role": role, "sha256": hashlib.sha256(f"{role}-token".encode()).hexdigest()}
        for role in roles
    ]
    (folder / "tokens.yaml").write_text(yaml.safe_dump({"tokens": tokens}))
    (folder / "region.json").write_text(json.dumps(region))
    worker = Worker(
        "api",
        folder,
        {
            **database.environment("api"),
            "FLEETMETER_REGION_FILE": str(folder / "region.json"),
            "FLEETMETER_CONTRACTS_DIR": str(contracts),
            "FLEETMETER_TOKENS_FILE": str(folder / "tokens.yaml"),
            "FLEETMETER_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "FLEETMETER_TOPIC": topic,
        },
    )
    worker.start()
    try:
        worker.await_ready()
        yield RegionApi(worker, contracts, database, topic, kafka)
    finally:
        worker.stop()


@pytest.fixture
def api(
    database: _Database, topic: str, kafka: Kafka, region: dict[str, Any], tmp_path: Path
) -> Iterator[RegionApi]:
    """A running API on a ledger of its own."""
    with _serving(database, topic, kafka, region, tmp_path) as running:
        yield running


@dataclass(frozen=True)
class _Named:
    """A database of the session's server."""

    server: Postgres
    name: str

    def dsn(self, user: str = "postgres") -> str:
        return self.server.dsn(self.name, user)

    def environment(self, user: str = "postgres") -> dict[str, str]:
        return self.server.environment(self.name, user)


@pytest.fixture(scope="module")
def idle_api(
    postgres: Postgres, kafka: Kafka, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegionApi]:
    """A running API on an empty ledger, for tests that change nothing in it."""
    name = topic = "idle-api"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"'.encode())
    kafka.create_topic(topic)
    try:
        with _serving(
            _Named(postgres, name), topic, kafka, REGION, tmp_path_factory.mktemp("api")
        ) as running:
            yield running
    finally:
        kafka.delete_topic(topic)
        postgres.drop_database(name)
