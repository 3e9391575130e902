"""A migrated ledger with a fleet in its registry, and the batches of a consumer that write to it."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import psycopg
from tests.bench.process import seconds_of
from tests.bench.workload import Fleet

from fleetmeter_api.contract import Contract
from fleetmeter_api.region import Region
from fleetmeter_local.engines import Postgres
from fleetmeter_workers.consumer import lookup
from fleetmeter_workers.consumer.plan import draw, uids
from fleetmeter_workers.consumer.record import Message, Record, read
from fleetmeter_workers.consumer.settle import firsts, judge
from fleetmeter_workers.consumer.write import Topic, Writer
from fleetmeter_workers.ledger import contracts, event_copy, migrations, offsets, periods, registry
from fleetmeter_workers.ledger.database import Connection, connect

REGION: dict[str, Any] = {
    "name": "eu",
    "spec": {
        "jurisdiction": "EU",
        "calendar": {"firstPeriod": "2020-01-01"},
        "metrics": [
            {"code": "messages", "kind": "Delta", "unit": "message"},
            {"code": "energy", "kind": "Delta", "unit": "kW.h"},
        ],
        "invoicing": {"sellerSecretName": "seller", "series": "EU"},
        "broker": {"type": "Embedded"},
        "store": {"type": "Embedded"},
    },
}
BATCH = 5000
"""Records a transaction, as many as the consumer takes at most."""


def migrated(postgres: Postgres, name: str, *fleets: Fleet) -> str:
    """Make the database and register the fleets; returns its name."""
    postgres.create_database(name)
    with connect("bench", postgres.dsn(name)) as connection:
        migrations.migrate(connection, {}, lambda _: None)
        owners = [pair for fleet in fleets for pair in fleet.owners()]
        customers = sorted({code for _, code in owners})
        contracts.add_versions(connection, [contract_of(code) for code in customers])
        registry.register(connection, [registry.Registration(uid, code) for uid, code in owners], "bench")
    return name


def contract_of(code: str) -> Contract:
    """The contract of a customer of the fleet."""
    return Contract.model_validate(
        {
            "contract": f"c-{code}",
            "customer": {"code": code, "name": f"{code} Ltd", "address": ["1 High Street", "Exeter"]},
            "plan": "fleet",
            "validFrom": "2020-01-01",
        }
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """What events took: seconds, processor seconds of either side, bytes of the write-ahead log."""

    events: int
    seconds: float
    client: float
    server: float
    wal: int

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def processor(self) -> float:
        """Processor microseconds an event, of client and server together."""
        return (self.client + self.server) / self.events * 1e6


class Meter:
    """Measures what goes over one connection."""

    def __init__(self, connection: psycopg.Connection[Any], admin: psycopg.Connection[Any]) -> None:
        """`admin` may see the write-ahead log."""
        self._admin = admin
        self._pid = connection.info.backend_pid

    def cost(self, work: Callable[[], int]) -> Cost:
        """What the work takes; it returns its number of events."""
        wal, server = wal_position(self._admin), seconds_of(self._pid)
        client, began = time.process_time(), time.perf_counter()
        events = work()
        seconds, spent = time.perf_counter() - began, time.process_time() - client
        return Cost(events, seconds, spent, seconds_of(self._pid) - server, wal_position(self._admin) - wal)


class Consumer:
    """The consumer's own steps without Kafka: plan and commit, batch by batch, over one connection."""

    def __init__(self, postgres: Postgres, database: str, *, high_water: bool) -> None:
        """Connect as the consumer's role."""
        self.connection = connect("bench", postgres.dsn(database, "consumer"))
        self._admin = connect("bench", postgres.dsn(database))
        topic = Topic("bench", uuid.UUID(int=1))
        offsets.claim_partition(self.connection, topic.name, 0, topic.topic_id, 0)
        self._known = lookup.load(self.connection, Region.model_validate(REGION))
        self._writer = Writer(self.connection, topic, alone=high_water)
        self._meter = Meter(self.connection, self._admin)

    def write(self, records: Sequence[Record]) -> Cost:
        """Plan and commit the records, which go on where the last call ended. Each batch is decoded right
        before, as in the consumer; that is not part of the cost."""
        total = Cost(0, 0, 0, 0, 0)
        for at in range(0, len(records), BATCH):
            batch = [read(record) for record in records[at : at + BATCH]]
            total += self._meter.cost(lambda batch=batch: self._write(batch))
        return total

    def _write(self, batch: Sequence[Message]) -> int:
        lookup.learn_devices(self.connection, self._known, uids(batch))
        self._writer.write(draw(batch, self._known), self._known)
        return len(batch)

    def rows(self, messages: Sequence[Message]) -> list[bytes]:
        """The rows that the messages become, each identity once, in order of arrival, as COPY takes them."""
        lookup.learn_devices(self.connection, self._known, uids(messages))
        plan = draw(messages, self._known)
        with self.connection.transaction():
            periods.ensure(self.connection, plan.periods, self._known.customers)
        held = periods.find(self.connection, (terms.key for terms in plan.periods))
        return [event_copy.encoded(row) for row in firsts([judge(each, held) for each in plan.candidates])]

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
        self._admin.close()


def wal_position(connection: psycopg.Connection[Any]) -> int:
    """Bytes that the server has ever logged."""
    row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").fetchone()
    return row[0] if row else 0


def stored_bytes(connection: Connection, *tables: str) -> int:
    """Heap and indexes of these tables."""
    row = connection.execute(
        "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(%s::text[]) AS name",
        (list(tables),),
    ).fetchone()
    return row[0] if row else 0
