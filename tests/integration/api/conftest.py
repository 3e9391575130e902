"""A region's API as a process, on a real ledger and a real topic."""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.engines import Kafka, Postgres
from fleetmeter_local.worker import Worker
from fleetmeter_workers.ledger import invoices, registry
from fleetmeter_workers.ledger.invoices import NewInvoice

from ..conftest import Database, fresh_database, fresh_topic, running

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


INVOICE: dict[str, Any] = {
    "schema": "fleetmeter.io/invoice/v1",
    "issueDate": "2023-02-04",
    "currency": "EUR",
    "seller": {"name": "Seller [bold]", "address": ["A"], "taxId": "1", "email": "a@b.example"},
    "customer": {"code": "acme", "name": "<b>Acmé</b>", "address": ["B"]},
    "contract": "acme-1",
    "plan": {"name": "standard", "version": "1", "hash": ""},
    "period": {
        "billingPeriod": "eu-202301",
        "start": "2022-12-31T23:00:00Z",
        "end": "2023-01-31T23:00:00Z",
        "timeZone": "Europe/Paris",
        "cutOff": "2023-02-03T23:00:00Z",
    },
    "lines": [],
}


def add_period(connection: psycopg.Connection[Any], contract: str, customer: str) -> int:
    """A contract's January in the ledger; its id."""
    customer_id = registry.customer_ids(connection, [customer])[customer]
    january = INVOICE["period"]
    times = (january["start"], january["end"], january["cutOff"])
    row = connection.execute(
        "INSERT INTO fleetmeter.contract_period (contract, customer_id, billing_period, starts_at, ends_at, "
        "cutoff_at, late_usage) VALUES (%s, %s, %s, %s, %s, %s, 'Grace') RETURNING period_id",
        (contract, customer_id, january["billingPeriod"], *times),
    ).fetchone()
    assert row is not None
    return row[0]


def add_invoice(
    connection: psycopg.Connection[Any],
    period_id: int,
    number: str,
    total: str,
    *,
    version: int = 1,
    events: int = 0,
    **changes: Any,
) -> bytes:
    """An invoice over a period in the ledger; its bytes, which are not those that a rendering would give."""
    own = {"number": number, "version": version, "subtotal": total, "total": total}
    snapshot = {"events": events, "digest": "sha256:00"}
    body = INVOICE | own | {"snapshot": snapshot} | changes
    document = json.dumps(body, ensure_ascii=False, indent=1).encode()
    new = NewInvoice(
        number=number,
        contract=body["contract"],
        period_id=period_id,
        version=version,
        billing_period=body["period"]["billingPeriod"],
        currency=body["currency"],
        total=Decimal(total),
        events=events,
        document=document,
        sha256=hashlib.sha256(document).digest(),
        issued_on=date.fromisoformat(body["issueDate"]),
    )
    invoices.add(connection, new)
    return document


@dataclass
class RegionApi:
    """The running API, its files, and the ways to ask it."""

    worker: Worker
    contracts: Path
    database: Database
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
        found: dict[str, Any] = {}

        def as_many() -> bool:
            found.update(self.get("/v1/contracts").json())
            return len(found["contracts"]) == loaded and len(found["refused"]) == refused

        await_true(as_many, lambda: f"{loaded} contracts loaded and {refused} refused; there are {found}")
        return found

    def await_ready(self, ready: bool) -> None:
        """Wait until the readiness probe says so."""
        await_true(lambda: self.worker.ready() == ready, f"readiness to be {ready}")

    def _ask(self, method: str, path: str, role: str | None, **rest: Any) -> httpx.Response:
        headers = {} if role is None else {"Authorization": f"Bearer {role}-token"}
        return httpx.request(
            method, f"{self.worker.url}{path}", headers=headers, timeout=20, trust_env=False, **rest
        )


@pytest.fixture
def region() -> dict[str, Any]:
    """The region's document; a test may override the fixture or change it before the API starts."""
    return json.loads(json.dumps(REGION))


@contextmanager
def _serving(
    database: Database, topic: str, kafka: Kafka, region: dict[str, Any], folder: Path
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
    with running(worker):
        yield RegionApi(worker, contracts, database, topic, kafka)


@pytest.fixture
def api(
    database: Database, topic: str, kafka: Kafka, region: dict[str, Any], tmp_path: Path
) -> Iterator[RegionApi]:
    """A running API on a ledger of its own."""
    with _serving(database, topic, kafka, region, tmp_path) as serving:
        yield serving


@pytest.fixture(scope="module")
def idle_api(
    postgres: Postgres, kafka: Kafka, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegionApi]:
    """A running API on an empty ledger, for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("api")
    with (
        fresh_database(postgres, migrated_template) as database,
        fresh_topic(kafka) as topic,
        _serving(database, topic, kafka, REGION, folder) as serving,
    ):
        yield serving
