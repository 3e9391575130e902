"""A line from Kafka to the ledger: a topic with messages in it, and the real consumer as a process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer
from tests.bench import ledger
from tests.bench.workload import Fleet, Sent

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.engines import Kafka, Postgres
from fleetmeter_workers.ledger.database import Connection, connect
from fleetmeter_workers.ledger.offsets import read_offsets

TOPIC = "usage"
PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """Both engines, with a topic and a migrated database."""

    kafka: Kafka
    postgres: Postgres
    database: str
    where: Path

    def send(self, sent: Iterable[Sent], partition: int | None = None) -> int:
        """Put messages into the topic as the gateway does; by customer, or all into one partition."""
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 100_000,
            }
        )
        count = 0
        for message in sent:
            place = hash_of(message.device) % PARTITIONS if partition is None else partition
            while True:
                try:
                    producer.produce(TOPIC, message.value, partition=place, headers=list(message.headers))
                    break
                except BufferError:
                    producer.poll(0.1)
            count += 1
        producer.flush(120)
        return count

    @contextmanager
    def consumers(self, count: int = 1) -> Iterator[list[subprocess.Popen[bytes]]]:
        """So many consumers of one group, until the end of the block."""
        region = self.where / "region.json"
        spec = ledger.REGION["spec"] | {"consumers": {"replicas": count}}
        region.write_text(json.dumps(ledger.REGION | {"spec": spec}))
        environment = {
            **os.environ,
            **self.postgres.environment(self.database, "consumer"),
            "FLEETMETER_REGION_FILE": str(region),
            "FLEETMETER_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "FLEETMETER_TOPIC": TOPIC,
            "FLEETMETER_METRICS_PORT": "0",
            "FLEETMETER_LISTEN": "127.0.0.1",
            "FLEETMETER_TERMINATION_LOG": str(self.where / "termination-log"),
        }
        command = [sys.executable, "-m", "fleetmeter_workers", "consumer"]
        with (self.where / "consumer.log").open("wb") as log:
            processes = [
                subprocess.Popen(command, env=environment, stdout=log, stderr=log) for _ in range(count)
            ]
        try:
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)

    def decided(self) -> int:
        """How many records the ledger has decided."""
        with connect("bench", self.postgres.dsn(self.database)) as connection:
            return _records(connection)

    def await_records(
        self, count: int, processes: Sequence[subprocess.Popen[bytes]], seconds: float = 1800
    ) -> float:
        """When the ledger has decided so many records, by the monotonic clock."""
        with connect("bench", self.postgres.dsn(self.database)) as connection:

            def reached() -> bool:
                if any(process.poll() is not None for process in processes):
                    raise RuntimeError(f"a consumer ended:\n{(self.where / 'consumer.log').read_text()}")
                return _records(connection) >= count

            await_true(reached, f"{count} records to be decided", seconds, pause=0.02)
            return time.monotonic()


def _records(connection: Connection) -> int:
    return sum(row.counters.records for row in read_offsets(connection, TOPIC).values())


@contextmanager
def line(
    kafka: Kafka, postgres: Postgres, where: Path, *fleets: Fleet, database: str = "line"
) -> Iterator[Line]:
    """A fresh topic and database."""
    kafka.create_topic(TOPIC, partitions=PARTITIONS)
    yield Line(kafka, postgres, ledger.migrated(postgres, database, *fleets), where)
    kafka.delete_topic(TOPIC)


def hash_of(device: str) -> int:
    """A number that is the same in every run: the digits of the uid, by owner."""
    return int(device.rpartition("-")[2]) % 20
