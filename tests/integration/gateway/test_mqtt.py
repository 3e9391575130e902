"""MQTT entrance: what a published message is in Kafka, in which order, and when the broker is told."""

import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.engines import Kafka
from fleetmeter_workers.ledger import registry
from fleetmeter_workers.ledger.database import connect

from .conftest import Database, Site

DEVICE = "a81758fffe04b1c1"
NOT_AUTHORISED = 0x87
NO_SUBSCRIBER = 0x10
GATEWAY_ACCEPTED = 'fleetmeter_gateway_accepted_total{entry="mqtt"}'
IN_FLIGHT = "fleetmeter_gateway_in_flight"


def helium(counter: int, device: str = DEVICE) -> bytes:
    """An uplink as Helium sends it."""
    return json.dumps({"dev_eui": device.upper(), "devaddr": "07000048", "fcnt": counter}).encode()


def register(database: Database, uid: str, customer: str, valid_from: datetime | None = None) -> None:
    """Give a device an owner."""
    with connect("test", database.dsn()) as connection:
        wish = registry.Registration(uid, customer, None, "default", valid_from, None)
        registry.register(connection, [wish], "test")


class Tap:
    """A TCP relay to the broker that counts the PUBACKs that pass from the gateway to it."""

    def __init__(self, port: int) -> None:
        self.pubacks = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._relay, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, False), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        waiting = b""
        while data := source.recv(65536):
            if counted:
                waiting = self._count(waiting + data)
            sink.sendall(data)
        sink.close()

    def _count(self, stream: bytes) -> bytes:
        """Walk over the whole packets (MQTT 5 section 2.1); a PUBACK has type 4."""
        while len(stream) >= 2:
            length, shift, place = 0, 0, 1
            while True:
                if place >= len(stream):
                    return stream
                length |= (stream[place] & 0x7F) << shift
                shift += 7
                place += 1
                if not stream[place - 1] & 0x80:
                    break
            if len(stream) < place + length:
                return stream
            self.pubacks += stream[0] >> 4 == 4
            stream = stream[place + length :]
        return stream


def test_a_message_travels_as_it_came(site: Site, database: Database) -> None:
    register(database, DEVICE, "alpine-weather")
    site.start_gateway()
    raw = helium(1)
    assert site.sender("ingest").publish("uplink/helium/roof", raw).value == 0
    [record] = site.topic.records(1)
    assert record.value == raw
    assert record.key == b"alpine-weather"
    assert record.timestamp_type == TIMESTAMP_LOG_APPEND_TIME
    headers = record.headers
    assert (headers.adapter, headers.entry, headers.principal) == ("helium", "mqtt", "ingest")
    assert headers.topic == "uplink/helium/roof"
    assert abs(headers.received / 1e6 - datetime.now(UTC).timestamp()) < 60
    assert (headers.backfill, headers.stated, headers.refusal) == (None, None, None)


def test_a_backfill_states_when_it_was_received(site: Site) -> None:
    site.start_gateway()
    sender = site.sender("backfill")
    times = {
        "1672867882661000": 1672867882661000,
        "2023-01-04T21:31:22.661Z": 1672867882661000,
        "yesterday": None,
        "2023-01-04T21:31:22": None,
        None: None,
    }
    for stated in times:
        raw = f"stated as {stated}".encode()
        sender.publish("backfill/20230101-20231001/helium", raw, received=stated)
    records = {
        record.value.decode().removeprefix("stated as "): record.headers for record in site.topic.records(5)
    }
    assert {text: headers.stated for text, headers in records.items()} == {
        str(text): micros for text, micros in times.items()
    }
    assert {headers.backfill for headers in records.values()} == {"20230101-20231001"}
    assert {headers.principal for headers in records.values()} == {"backfill"}


def test_a_live_message_cannot_state_when_it_was_received(site: Site) -> None:
    site.start_gateway()
    site.sender("ingest").publish("uplink/helium", helium(1), received="1672867882661000")
    assert site.topic.records(1)[0].headers.stated is None


def test_the_key_is_the_owner_at_the_stated_time(site: Site, database: Database) -> None:
    register(database, DEVICE, "first-owner")
    register(database, DEVICE, "second-owner", datetime(2023, 6, 1, tzinfo=UTC))
    site.start_gateway()
    sender = site.sender("backfill")
    for stated in ("2023-05-31T23:59:59Z", "2023-06-01T00:00:00Z"):
        sender.publish("backfill/x/helium", helium(1), received=stated)
    keys = {record.headers.stated: record.key for record in site.topic.records(2)}
    assert [keys[stated] for stated in sorted(keys, key=str)] == [b"first-owner", b"second-owner"]


def test_a_device_registered_while_it_runs_is_known_to_its_next_message(
    site: Site, database: Database
) -> None:
    gateway = site.start_gateway()
    await_true(lambda: "registry read" in gateway.process.log.read_text(), "the gateway to know the registry")
    register(database, DEVICE, "alpine-weather")
    site.sender("ingest").publish("uplink/helium", helium(1))
    assert site.topic.records(1)[0].key == b"alpine-weather"


def test_what_names_no_known_device_is_accepted_without_a_key(site: Site) -> None:
    site.start_gateway()
    strange = [b"", b"\xff\x00 no JSON", b'{"dev_eui": 7}', b"[" * 100_000, helium(1, "0000000000000001")]
    site.sender("ingest").publish_all("uplink/helium", strange)
    records = site.topic.records(len(strange))
    assert sorted(record.value for record in records) == sorted(strange)
    assert {(record.key, record.headers.refusal) for record in records} == {(b"", None)}


def test_an_unknown_adapter_is_accepted_for_the_line_to_set_aside(site: Site) -> None:
    site.start_gateway()
    site.sender("ingest").publish("uplink/abacus", b"7")
    site.sender("ingest").publish("uplink/", b"8")
    assert {record.headers.adapter for record in site.topic.records(2)} == {"abacus", ""}


def test_too_large_a_message_travels_with_its_beginning_and_its_refusal(site: Site) -> None:
    gateway = site.start_gateway()
    raw = b"x" * (256 * 1024)
    sender = site.sender("ingest")
    sender.publish("uplink/json", raw)
    sender.publish("uplink/json", raw + b"y")
    whole, refused = sorted(site.topic.records(2), key=lambda record: -len(record.value))
    assert (whole.value, whole.headers.refusal) == (raw, None)
    assert (refused.value, refused.headers.refusal) == (raw[:4096], "too_large")
    assert gateway.metrics()['fleetmeter_gateway_refused_total{entry="mqtt",reason="too_large"}'] == 1


def test_messages_of_a_device_stay_in_order(site: Site, database: Database) -> None:
    other = "d1d1e80000000032"
    register(database, DEVICE, "alpine-weather")
    register(database, other, "harbour-logistics")
    site.start_gateway()
    sender = site.sender("ingest")
    sender.publish_all("uplink/helium", [helium(n, device) for n in range(300) for device in (DEVICE, other)])
    records = site.topic.records(600)
    for device in (DEVICE, other):
        mine = [record for record in records if json.loads(record.value)["dev_eui"] == device.upper()]
        assert len({record.partition for record in mine}) == 1
        assert [json.loads(record.value)["fcnt"] for record in mine] == list(range(300))


def test_the_broker_is_answered_only_when_kafka_has_the_message(
    site: Site, kafka: Kafka, kafka_paused: Callable[[], None]
) -> None:
    tap = Tap(site.broker.port)
    gateway = site.start_gateway(mqtt_port=tap.port)
    sender = site.sender("ingest")
    sender.publish_all("uplink/helium", map(helium, range(30)))
    await_true(lambda: tap.pubacks == 30, "the first PUBACKs")
    kafka_paused()
    sender.publish_all("uplink/helium", map(helium, range(30, 50)))
    await_true(
        lambda: gateway.metrics()[IN_FLIGHT] == 20,
        lambda: f"20 messages at Kafka's door; there are {gateway.metrics()[IN_FLIGHT]:.0f}",
    )
    assert tap.pubacks == 30
    await_true(lambda: not gateway.ready(), "the gateway to say that it is not ready")
    assert tap.pubacks == 30
    kafka.process.resume()
    await_true(lambda: tap.pubacks == 50, "the PUBACKs after Kafka came back")
    await_true(gateway.ready, "the gateway to be ready again")
    assert [json.loads(record.value)["fcnt"] for record in site.topic.records(50)] == list(range(50))
    tap.close()


def test_a_receipt_comes_after_the_message_is_durable(
    site: Site, kafka: Kafka, kafka_paused: Callable[[], None]
) -> None:
    gateway = site.start_gateway()
    sender = site.sender("backfill")
    sender.subscribe("receipts/mine/#")
    sender.publish("backfill/x/helium", helium(1), receipt="receipts/mine/1")
    await_true(lambda: [message.topic for message in sender.heard] == ["receipts/mine/1"], "the receipt")
    kafka_paused()
    sender.publish("backfill/x/helium", helium(2), receipt="receipts/mine/2")
    await_true(lambda: gateway.metrics()[IN_FLIGHT] == 1, "the message to be at Kafka's door")
    await_true(lambda: not gateway.ready(), "the gateway to say that it is not ready")
    assert len(sender.heard) == 1
    kafka.process.resume()
    await_true(lambda: len(sender.heard) == 2, "the second receipt")


def test_each_user_writes_where_it_may_and_reads_nothing_else(site: Site) -> None:
    site.start_gateway()
    # The broker hangs up after a refusal: a client each.
    for user, topic in (
        ("ingest", "backfill/x/helium"),
        ("ingest", "elsewhere"),
        ("backfill", "uplink/helium"),
    ):
        assert site.sender(user).publish(topic, helium(1)).value == NOT_AUTHORISED
    ingest, backfill = site.sender("ingest"), site.sender("backfill")
    for sender in (ingest, backfill):
        sender.subscribe("#")
    assert ingest.publish("uplink/helium", helium(2), receipt="receipts/a").value == 0
    assert backfill.publish("backfill/x/helium", helium(3), receipt="receipts/b").value == 0
    for sender in (ingest, backfill):
        await_true(
            lambda s=sender: {"receipts/a", "receipts/b"} <= {m.topic for m in s.heard}, "the receipts"
        )
        assert {message.topic for message in sender.heard} == {"receipts/a", "receipts/b"}
    assert len(site.topic.records(2)) == 2


def test_the_broker_keeps_messages_while_the_gateway_is_away(site: Site) -> None:
    sender = site.sender("ingest")
    assert sender.publish("uplink/helium", helium(0)).value == NO_SUBSCRIBER
    site.start_gateway().stop()
    sender.publish_all("uplink/helium", map(helium, range(1, 1501)))
    gateway = site.start_gateway()
    assert [json.loads(r.value)["fcnt"] for r in site.topic.records(1500)] == list(range(1, 1501))
    await_true(lambda: gateway.metrics()[GATEWAY_ACCEPTED] == 1500, "the acknowledgements")


def test_a_gateway_outlives_its_broker(site: Site) -> None:
    gateway = site.start_gateway()
    site.broker.stop()
    await_true(lambda: not gateway.ready(), "the gateway to notice")
    site.broker.start()
    site.broker.await_ready()
    await_true(gateway.ready, "the gateway to be back")
    assert site.sender("ingest").publish("uplink/helium", helium(1)).value == 0
    site.topic.records(1)


def test_while_postgres_is_away_the_last_reading_serves(site: Site, database: Database) -> None:
    register(database, DEVICE, "alpine-weather")
    gateway = site.start_gateway()
    await_true(lambda: gateway.metrics()["fleetmeter_gateway_registry_devices"] == 1, "the registry")
    with psycopg.connect(database.server.dsn(), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database.name]
        )
    await_true(lambda: "registry away" in gateway.process.log.read_text(), "the gateway to notice")
    sender = site.sender("ingest")
    sender.publish("uplink/helium", helium(1))
    sender.publish("uplink/helium", helium(2, "0000000000000001"))
    assert {record.key for record in site.topic.records(2)} == {b"alpine-weather", b""}
    assert gateway.ready()


def test_a_gateway_that_never_saw_the_registry_accepts_without_keys(site: Site) -> None:
    site.start_gateway(PGPORT="1")
    site.sender("ingest").publish("uplink/helium", helium(1))
    assert site.topic.records(1)[0].key == b""


def test_a_gateway_without_its_topic_is_not_ready(site: Site, kafka: Kafka) -> None:
    gateway = site.start_gateway(ready=False, FLEETMETER_TOPIC=f"{site.topic.name}-late")
    await_true(lambda: "mqtt connected" in gateway.process.log.read_text(), "the MQTT connection")
    assert not gateway.ready()
    kafka.create_topic(f"{site.topic.name}-late")
    await_true(gateway.ready, "the gateway to find the topic")
    kafka.delete_topic(f"{site.topic.name}-late")
