"""Kafka with a password for each account: every worker can do its work, and nothing beside it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.engines import Kafka, Postgres
from fleetmeter_local.worker import Worker

from .conftest import Database, running

PASSWORDS = {user: f"{user}-password" for user in ("admin", "gateway", "consumer", "api")}
REGION = {
    "name": "eu",
    "spec": {
        "jurisdiction": "EU",
        "calendar": {"firstPeriod": "2023-01-01"},
        "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
        "invoicing": {"sellerSecretName": "seller", "series": "EU"},
        "broker": {"type": "Embedded"},
        "store": {"type": "Embedded"},
    },
}
TOKEN = "a-token"


@dataclass(frozen=True)
class Region:
    """A migrated region on a broker that asks for passwords."""

    kafka: Kafka
    database: Database
    folder: Path

    def environment(self, user: str, role: str) -> dict[str, str]:
        """A worker's environment, with its own account at Kafka and at Postgres."""
        return {
            **self.database.environment(role),
            "FLEETMETER_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "FLEETMETER_KAFKA_USER": user,
            "FLEETMETER_KAFKA_PASSWORD": PASSWORDS[user],
            "FLEETMETER_REGION_FILE": str(self.folder / "region.json"),
            "FLEETMETER_CONTRACTS_DIR": str(self.folder / "contracts"),
            "FLEETMETER_TOKENS_FILE": str(self.folder / "tokens.yaml"),
        }

    def client(self, user: str) -> dict[str, str | int]:
        """A Kafka client's configuration."""
        return {
            "bootstrap.servers": self.kafka.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": PASSWORDS[user],
            "log_level": 0,
        }


@pytest.fixture(scope="module")
def region(
    postgres: Postgres,
    engines_directory: Path,
    engine_logs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Region]:
    folder = tmp_path_factory.mktemp("region")
    (folder / "contracts").mkdir()
    (folder / "region.json").write_text(json.dumps(REGION))
    entry = {"name": "m", "role": "ingest", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    (folder / "tokens.yaml").write_text(json.dumps({"tokens": [entry]}))
    directory = engines_directory / "guarded"
    directory.mkdir()
    database = Database(postgres, "rights")
    postgres.create_database(database.name)
    with running(Kafka(directory, engine_logs / "guarded", passwords=PASSWORDS)) as kafka:
        made = Region(kafka, database, folder)
        command = [sys.executable, "-m", "fleetmeter_workers", "migrate"]
        for _ in range(2):
            environment = made.environment("admin", "postgres")
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert '"rights": 4' in done.stdout
        yield made
    postgres.drop_database(database.name)


def test_the_whole_line_works_with_the_rights_that_it_has(region: Region) -> None:
    """A message goes in by HTTP, is decided, and the API knows that nothing is left."""
    workers = [
        Worker(stage, region.folder, region.environment(stage, stage))
        for stage in ("gateway", "consumer", "api")
    ]
    gateway, consumer, api = workers
    with running(gateway), running(consumer), running(api):
        sent = httpx.post(
            f"{gateway.url}/v1/uplink/json",
            content=b'{"device": "d", "epoch": "1", "seq": 1}',
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        )
        assert sent.status_code == 202, sent.text

        def decided() -> bool:
            status = httpx.get(f"{api.status_url}/status", trust_env=False).json()
            return (status["consumer"]["records"], status["consumer"]["lag"]) == (1, 0)

        await_true(decided, "the message to be decided", seconds=60)
        await_true(lambda: 1 in group_offsets(region), "the group to be informed", seconds=60)


def group_offsets(region: Region) -> list[int]:
    """What the consumers' group has committed."""
    consumer = Consumer({**region.client("admin"), "group.id": "fleetmeter-consumer"})
    try:
        asked = [TopicPartition("usage", partition) for partition in range(4)]
        return [place.offset or 0 for place in consumer.committed(asked, timeout=10)]
    finally:
        consumer.close()


@pytest.mark.parametrize("user", ["consumer", "api"])
def test_only_the_gateway_writes(region: Region, user: str) -> None:
    refused: list[KafkaError | None] = []
    producer = Producer(region.client(user))
    producer.produce("usage", b"forged", on_delivery=lambda error, _: refused.append(error))
    assert producer.flush(30) == 0
    assert [error.code() for error in refused if error] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


@pytest.mark.parametrize("user", ["gateway", "api"])
def test_only_the_consumer_reads(region: Region, user: str) -> None:
    consumer = Consumer({**region.client(user), "group.id": "thief"})
    seen: list[int | None] = []

    def told() -> set[int | None]:
        message = consumer.poll(1)
        if message is not None:
            error = message.error()
            seen.append(None if error is None else error.code())
        return {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED} & set(seen)

    try:
        consumer.assign([TopicPartition("usage", partition, 0) for partition in range(4)])
        await_true(lambda: len(told()) == 2, "both refusals", seconds=30)
        assert None not in seen
    finally:
        consumer.close()


@pytest.mark.parametrize("user", ["gateway", "consumer", "api"])
def test_nobody_but_the_administrator_changes_topics_or_rights(region: Region, user: str) -> None:
    client = AdminClient(region.client(user))
    for asked in (client.create_topics([NewTopic("own", 1)]), client.delete_topics(["usage"])):
        for done in asked.values():
            with pytest.raises(KafkaException) as refused:
                done.result(30)
            assert refused.value.args[0].code() in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            )


def test_a_broker_without_rights_is_none_to_stumble_over(kafka: Kafka, postgres: Postgres) -> None:
    """Kafka without an authorizer, as the local line's: the migration says so and goes on."""
    postgres.create_database("no_rights")
    try:
        environment = {**postgres.environment("no_rights"), "FLEETMETER_KAFKA_BOOTSTRAP": kafka.bootstrap}
        command = [sys.executable, "-m", "fleetmeter_workers", "migrate"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"rights": 0' in done.stdout
        with psycopg.connect(postgres.dsn("no_rights")) as session:
            assert session.execute("SELECT count(*) FROM fleetmeter.schema_migration").fetchone() is not None
    finally:
        postgres.drop_database("no_rights")
