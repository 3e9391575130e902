"""A line from Kafka to the ledger: records in, real workers, and what the ledger holds then."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from fleetmeter_api.contract import Contract
from fleetmeter_cluster.ports import free_port
from fleetmeter_cluster.progress import await_true
from fleetmeter_rules.instant import to_micros
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.ledger import backfills, contracts, registry

from .late_line import LateLine

TRACES = Path(__file__).parents[3] / "examples" / "traces"
TRACE_DEVICES = (("d1d1e80000000032", "acme"), ("a81758fffe04b1c1", "globex"))


def region_document(**changes: Any) -> dict[str, Any]:
    """A region that bills messages by UTC month, with a backfill of nine months of 2023."""
    spec: dict[str, Any] = {
        "jurisdiction": "EU",
        "calendar": {"firstPeriod": "2023-01-01", "lastPeriod": "2023-09-01"},
        "metrics": [
            {"code": "messages", "kind": "Delta", "unit": "message"},
            {"code": "energy", "kind": "Delta", "unit": "kW.h"},
        ],
        "invoicing": {"sellerSecretName": "seller", "series": "EU"},
        "backfill": {"from": "2023-01-01T00:00:00Z", "to": "2023-10-01T00:00:00Z"},
        "broker": {"type": "Embedded"},
        "store": {"type": "Embedded"},
    }
    return {"name": "eu", "spec": spec | changes}


def contract_document(code: str, customer: str, **changes: Any) -> dict[str, Any]:
    """A contract on the plan `fleet` from 2020 on."""
    return {
        "contract": code,
        "customer": {"code": customer, "name": f"{customer} Ltd", "address": ["1 High Street", "Exeter"]},
        "plan": "fleet",
        "validFrom": "2020-01-01",
    } | changes


def plan_document(name: str = "fleet", currency: str = "EUR", **charge: Any) -> dict[str, Any]:
    """A plan with one charge: a cent a message."""
    own = {"name": "usage", "metric": "messages", "model": "PerUnit", "unitPrice": "0.01"} | charge
    version = {"version": "1", "effectiveFrom": "2020-01-01T00:00:00Z", "charges": [own]}
    return {"name": name, "spec": {"currency": currency, "versions": [version]}}


SELLER = {"name": "Fleet SE", "address": ["2 Quay", "Cork"], "taxId": "IE123", "email": "bills@fleet.example"}


def trace(name: str) -> list[tuple[bytes, datetime]]:
    """The lines of a trace with the time at which the platform received them, in arrival order."""
    with gzip.open(TRACES / name) as lines:
        found = [(line.rstrip(b"\n"), json.loads(line)["_timestamp"]) for line in lines]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [(raw, epoch + timedelta(milliseconds=stamp)) for raw, stamp in found]


@dataclass
class Worker:
    """A worker as a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it without any chance to finish."""
        self.process.kill()
        self.process.wait(90)

    def stop(self) -> int:
        """Ask it to finish, and wait."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(90)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@dataclass
class Line:
    """One test's topic, ledger and workers."""

    bootstrap: str
    topic: str
    database: Any
    directory: Path
    region: dict[str, Any]
    plans: list[dict[str, Any]] = field(default_factory=lambda: [plan_document()])
    workers: list[Worker] = field(default_factory=list[Worker])
    sent: int = 0

    contract = staticmethod(contract_document)
    plan = staticmethod(plan_document)
    trace = staticmethod(trace)
    await_true = staticmethod(partial(await_true, seconds=180, pause=0.05))
    instant = staticmethod(datetime.fromisoformat)
    decimal = staticmethod(Decimal)
    free_port = staticmethod(free_port)

    def __post_init__(self) -> None:
        """Connect a producer and a superuser's session."""
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "linger.ms": 5})
        self.ledger = psycopg.connect(
            self.database.dsn(), autocommit=True, options="-c search_path=fleetmeter"
        )

    def reconnect(self) -> None:
        """Open the superuser's session."""
        self.ledger = psycopg.connect(
            self.database.dsn(), autocommit=True, options="-c search_path=fleetmeter"
        )

    def environment(self, user: str, **more: str) -> dict[str, str]:
        """The environment of a worker that connects as `user`."""
        region = self.directory / "region.json"
        region.write_text(json.dumps(self.region))
        plans = self.directory / "plans"
        plans.mkdir(exist_ok=True)
        for plan in self.plans:
            (plans / f"{plan['name']}.json").write_text(json.dumps(plan))
        (self.directory / "seller.yaml").write_text(json.dumps(SELLER))
        return {
            **os.environ,
            **self.database.environment(user),
            "FLEETMETER_REGION_FILE": str(region),
            "FLEETMETER_KAFKA_BOOTSTRAP": self.bootstrap,
            "FLEETMETER_TOPIC": self.topic,
            "FLEETMETER_PLANS_DIR": str(plans),
            "FLEETMETER_SELLER_FILE": str(self.directory / "seller.yaml"),
            "FLEETMETER_METRICS_PORT": "0",
            "FLEETMETER_LISTEN": "127.0.0.1",
            "FLEETMETER_TERMINATION_LOG": str(self.directory / "termination-log"),
            **more,
        }

    def send(
        self,
        raw: bytes,
        adapter: str = "json",
        *,
        stated: datetime | None = None,
        partition: int = 0,
        refusal: str | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        created: int = 0,
    ) -> None:
        """Put one record into the topic, as a gateway does; `stated` makes it history of the backfill."""
        written = Headers(
            adapter=adapter,
            entry="mqtt",
            principal="test",
            received=to_micros(datetime.now(UTC)),
            topic=f"uplink/{adapter}",
            backfill=None if stated is None else "20230101-20231001",
            stated=None if stated is None else to_micros(stated),
            refusal=refusal,
        )
        self._producer.produce(
            self.topic,
            raw,
            partition=partition,
            headers=encode_headers(written) if headers is None else headers,
            timestamp=created,
        )
        self.sent += 1
        if self.sent % 5000 == 0:
            self._producer.flush(60)

    def send_events(self, device: str, sequences: Iterable[int], **more: Any) -> None:
        """One message of the project's own form for each sequence number."""
        for sequence in sequences:
            self.send(json.dumps({"device": device, "epoch": "1", "seq": sequence}).encode(), **more)

    def flush(self) -> None:
        """Return when Kafka has every record."""
        assert self._producer.flush(60) == 0

    def send_traces(self) -> None:
        """Both traces as history, each platform's records in a partition of its own."""
        for partition, adapter in enumerate(("chirpstack", "helium")):
            (name,) = TRACES.glob(f"{adapter}-*.ndjson.gz")
            for raw, received_at in trace(name.name):
                self.send(raw, adapter, stated=received_at, partition=partition)

    def set_up_traces(self) -> None:
        """The owners of the traces' devices, and their contracts."""
        self.sign(contract_document("c-acme", "acme"), contract_document("c-globex", "globex"))
        self.register(*TRACE_DEVICES)

    def sign(self, *documents: dict[str, Any]) -> None:
        """Load contracts as the API does."""
        contracts.add_versions(self.ledger, [Contract.model_validate(document) for document in documents])

    def register(self, *pairs: tuple[str, str]) -> None:
        """Register (device, customer) pairs."""
        registry.register(self.ledger, [registry.Registration(d, c) for d, c in pairs], "test")

    def start(self, *command: str, user: str, **more: str) -> Worker:
        """Start a worker."""
        log = self.directory / f"{command[0]}-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fleetmeter_workers", *command],
                env=self.environment(user, **more),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def consume(self, **more: str) -> Worker:
        """Start a consumer."""
        return self.start("consumer", user="consumer", **more)

    def decided(self) -> int:
        """How many records the ledger has decided."""
        return self.value("SELECT coalesce(sum(records), 0)::int FROM partition_offset")

    def drain(self) -> None:
        """Run a consumer until the ledger has decided every record, then stop it."""
        self.flush()
        worker = self.consume()
        self.await_true(lambda: self._caught_up(worker), "the consumer to catch up")
        assert worker.stop() == 0, worker.log.read_text()

    def _caught_up(self, worker: Worker) -> bool:
        assert worker.process.poll() is None, worker.log.read_text()
        if not any(each["event"] == "positioned" for each in worker.lines):
            return False
        return self.rows("SELECT sum(next_offset)::int, count(*) FROM partition_offset") == [(self.sent, 4)]

    def complete_backfill(self) -> None:
        """Decide the backfill of the region, as the API does: what Kafka holds now still counts."""
        ends = dict(self.rows("SELECT partition, next_offset FROM partition_offset"))
        assert backfills.decide(self.ledger, "20230101-20231001", "completed", ends, "test") is not None

    def close_period(self, name: str) -> tuple[int, str]:
        """Run the close Job: its exit code and its last line."""
        worker = self.start("close", "--billing-period", name, user="closer")
        worker.process.wait(180)
        message = self.directory / "termination-log"
        return worker.process.returncode, message.read_text() if message.exists() else worker.log.read_text()

    def invoices(self) -> list[dict[str, Any]]:
        """Every invoice's document, by number."""
        return [
            json.loads(bytes(row[0])) for row in self.rows("SELECT document FROM invoice ORDER BY number")
        ]

    def value(self, query: str, *values: Any) -> Any:
        """The one value of a query."""
        row = self.ledger.execute(query.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.ledger.execute(query.encode(), values).fetchall()

    def reasons(self) -> dict[str, int]:
        """Quarantine rows by reason."""
        return dict(self.rows("SELECT reason, count(*) FROM quarantine GROUP BY reason"))

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that the ledger says, but for the times at which it was written down."""
        return {
            "event": self.rows("SELECT * FROM event ORDER BY event_key"),
            "usage_hour": self.rows("SELECT * FROM usage_hour ORDER BY period_id, metric_id, hour"),
            "duplicate_hour": self.rows("SELECT * FROM duplicate_hour ORDER BY customer_id, hour"),
            "period_count": self.rows("SELECT * FROM period_count ORDER BY period_id"),
            "quarantine": self.rows(
                "SELECT partition, record_offset, item, reason, raw FROM quarantine "
                "ORDER BY partition, record_offset, item"
            ),
            "offset": self.rows(
                "SELECT partition, next_offset, records, decoded, not_billable, undecodable, items, billed, "
                "duplicate, quarantined FROM partition_offset ORDER BY partition"
            ),
        }

    def close(self) -> None:
        """End every worker and the session."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self.ledger.close()


@pytest.fixture
def line(kafka: Any, topic: str, database: Any, tmp_path: Path) -> Iterator[Line]:
    """A line with the region of `region_document`."""
    made = Line(kafka.bootstrap, topic, database, tmp_path, region_document())
    yield made
    made.close()


@pytest.fixture
def late(line: Line) -> LateLine:
    """The same line for late usage."""
    return LateLine(line)
