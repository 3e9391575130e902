"""A gateway between a broker of its own and a fresh topic, and what arrives in that topic."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.engines import Kafka, Mosquitto
from fleetmeter_local.worker import Worker
from fleetmeter_wire.record import Headers, decode_headers

from ..conftest import Database

TOKENS = {"ingest": "ingest-token", "backfill": "backfill-token", "reader": "reader-token"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Arrived:
    """A record of the topic."""

    partition: int
    key: bytes
    value: bytes
    headers: Headers
    timestamp_type: int


class Topic:
    """The records of a topic, read from its beginning."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        self.name = name
        self._kafka = kafka

    def records(self, least: int, seconds: float = 40) -> list[Arrived]:
        """All records, once there are at least so many: partition by partition, in the order of offsets."""
        consumer = Consumer({"bootstrap.servers": self._kafka.bootstrap, "group.id": "none"})
        found: list[Arrived] = []

        def enough() -> bool:
            found[:] = self._read(consumer)
            return len(found) >= least

        try:
            await_true(enough, lambda: f"{least} records; there are {len(found)}", seconds)
        finally:
            consumer.close()
        return found

    def _read(self, consumer: Consumer) -> list[Arrived]:
        found: list[Arrived] = []
        for partition in sorted(consumer.list_topics(self.name, timeout=10).topics[self.name].partitions):
            place = TopicPartition(self.name, partition, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([place])
            position = 0
            while position < end:
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None, message.error()
                position = (message.offset() or 0) + 1
                found.append(_arrived(message))
        return found


def _arrived(message: Message) -> Arrived:
    pairs: Any = message.headers()
    return Arrived(
        message.partition() or 0,
        message.key() or b"",
        message.value() or b"",
        decode_headers(pairs),
        message.timestamp()[0],
    )


class Sender:
    """An MQTT client of one user."""

    def __init__(self, broker: Mosquitto, user: str) -> None:
        self.heard: list[MQTTMessage] = []
        self._answers: dict[int, ReasonCode] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.username_pw_set(user, broker.passwords[user])
        self._client.on_publish = self._answered
        self._client.on_message = lambda _client, _data, message: self.heard.append(message)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        await_true(self._client.is_connected, "the MQTT connection")

    def publish(
        self, topic: str, payload: bytes, *, received: str | None = None, receipt: str = ""
    ) -> ReasonCode:
        """The reason code of the PUBACK."""
        properties = Properties(PacketTypes.PUBLISH)
        if received is not None:
            properties.UserProperty = ("received", received)
        if receipt:
            properties.ResponseTopic = receipt
        sent = self._client.publish(topic, payload, qos=1, properties=properties)
        await_true(lambda: sent.mid in self._answers, "the PUBACK of the broker")
        return self._answers.pop(sent.mid)

    def publish_all(self, topic: str, payloads: Iterable[bytes]) -> None:
        """Publish one after the other without waiting between them; all must be accepted."""
        mids = [self._client.publish(topic, payload, qos=1).mid for payload in payloads]
        await_true(lambda: all(mid in self._answers for mid in mids), "the PUBACKs of the broker")
        assert {self._answers.pop(mid).value for mid in mids} == {0}

    def subscribe(self, topic: str) -> None:
        """Subscribe, and wait for the answer."""
        done: list[bool] = []
        self._client.on_subscribe = lambda _client, _data, _mid, _reasons, _properties: done.append(True)
        self._client.subscribe(topic, qos=1)
        await_true(lambda: bool(done), "the SUBACK")

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _answered(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._answers[mid] = reason


class Site:
    """One broker, one topic, and gateways that come and go between them."""

    def __init__(self, directory: Path, logs: Path, topic: Topic, environment: dict[str, str]) -> None:
        self.broker = Mosquitto(directory, logs)
        self.topic = topic
        self.tokens_file = directory / "tokens.yaml"
        self.write_tokens(TOKENS)
        self._logs = logs
        self._environment = environment
        self._gateways: list[Worker] = []
        self._senders: list[Sender] = []

    def write_tokens(self, tokens: dict[str, str]) -> None:
        """Replace the tokens file, as a changed Secret is: by a rename."""
        lines = [
            f"- {{name: test-{role}, role: {role}, sha256: {hashlib.sha256(token.encode()).hexdigest()}}}"
            for role, token in tokens.items()
        ]
        new = self.tokens_file.with_suffix(".new")
        new.write_text("\n".join(["tokens:", *lines]))
        new.rename(self.tokens_file)

    def start_gateway(self, *, mqtt_port: int | None = None, ready: bool = True, **changes: str) -> Worker:
        """Start a gateway on the broker (or on `mqtt_port`)."""
        environment = self._environment | {
            "FLEETMETER_TOPIC": self.topic.name,
            "FLEETMETER_TOKENS_FILE": str(self.tokens_file),
            "FLEETMETER_MQTT_HOST": "127.0.0.1",
            "FLEETMETER_MQTT_PORT": str(mqtt_port or self.broker.port),
            "FLEETMETER_MQTT_USER": "gateway",
            "FLEETMETER_MQTT_PASSWORD": self.broker.passwords["gateway"],
        }
        gateway = Worker("gateway", self._logs, environment | changes)
        self._gateways.append(gateway)
        gateway.start()
        if ready:
            gateway.await_ready()
        return gateway

    def sender(self, user: str) -> Sender:
        """A connected client."""
        sender = Sender(self.broker, user)
        self._senders.append(sender)
        return sender

    def close(self) -> None:
        """End all of it."""
        for sender in self._senders:
            sender.close()
        for gateway in self._gateways:
            gateway.stop()
        self.broker.stop()


@pytest.fixture
def site(engines_directory: Path, kafka: Kafka, topic: str, database: Database) -> Iterator[Site]:
    """A broker and a topic without a gateway yet; the registry is that of a fresh ledger."""
    directory = engines_directory / f"gateway-{next(_numbers)}"
    directory.mkdir(mode=0o711)
    environment = database.environment("gateway") | {"FLEETMETER_KAFKA_BOOTSTRAP": kafka.bootstrap}
    place = Site(directory, directory / "logs", Topic(kafka, topic), environment)
    place.broker.start()
    try:
        place.broker.await_ready()
        yield place
    finally:
        place.close()


@pytest.fixture
def kafka_paused(kafka: Kafka) -> Iterator[Callable[[], None]]:
    """Call it to stop Kafka from running (SIGSTOP); it goes on at the latest when the test ends."""
    yield kafka.process.pause
    kafka.process.resume()
