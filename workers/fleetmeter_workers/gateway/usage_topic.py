"""The usage topic, written to: messages in order, told when durable, held back when Kafka can't follow."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from structlog.stdlib import BoundLogger

from fleetmeter_workers.gateway import metrics
from fleetmeter_workers.settings import KafkaSettings
from fleetmeter_workers.telemetry import Health

HEALTH_PART = "kafka"
CHECK_SECONDS = 5.0
ROOM_WAIT_SECONDS = 0.2

Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One Kafka record: key, value and headers as they travel."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class UsageTopic:
    """An idempotent producer with acks=all that never gives a message up while it runs.

    What can't be delivered at all (no such topic, no right to it) stops the process through `on_fatal`:
    its senders were not answered, so they send again.
    """

    def __init__(
        self, kafka: KafkaSettings, health: Health, log: BoundLogger, on_fatal: Callable[[], None]
    ) -> None:
        """Start the connection. Raises SettingsError without a bootstrap address."""
        self._topic = kafka.topic
        self._health = health
        self._log = log
        self._on_fatal = on_fatal
        self._ended = False
        self._room = threading.Condition()
        self._producer = Producer(
            {
                **kafka.client_config(),
                "client.id": "fleetmeter-gateway",
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                # No deadline: a message waits for Kafka as long as it takes, and its sender waits too.
                "message.timeout.ms": 0,
                # One partition for one key, the empty one included, as Kafka's own clients choose it.
                "partitioner": "murmur2",
                "queue.buffering.max.messages": 20_000,
                "queue.buffering.max.kbytes": 131_072,
                "error_cb": self._connection_error,
                "logger": _client_log(log),
            },
        )
        self._poller = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._poller.start()
        self._checker = threading.Thread(target=self._check, name="kafka-check", daemon=True)
        self._checker.start()

    def put(self, outgoing: Outgoing, done: Done, *, seconds: float = math.inf) -> bool:
        """Hand a record over; `done` is called from another thread once it is durable.

        Waits while the buffers are full: the caller reads no more from its sender meanwhile. False when
        there was no room for `seconds`, or the producer was closed.
        """
        deadline = time.monotonic() + seconds
        while not self._put_if_room(outgoing, done):
            if self._ended or time.monotonic() > deadline:
                return False
            with self._room:
                self._room.wait(ROOM_WAIT_SECONDS)
        return True

    def _put_if_room(self, outgoing: Outgoing, done: Done) -> bool:

        def delivered(error: KafkaError | None, message: Message) -> None:
            self._delivered(error, message, done)

        try:
            self._producer.produce(
                self._topic,
                outgoing.value,
                outgoing.key,
                headers=list(outgoing.headers),
                on_delivery=delivered,
            )
        except BufferError:
            return False
        metrics.IN_FLIGHT.inc()
        return True

    def close(self, seconds: float) -> int:
        """Wait up to `seconds` for what is in flight; returns how many messages are left undelivered."""
        left = self._producer.flush(seconds)
        self._ended = True
        self._poller.join(timeout=5)
        self._checker.join(timeout=CHECK_SECONDS + 5)
        return left

    def _delivered(self, error: KafkaError | None, message: Message, done: Done) -> None:
        metrics.IN_FLIGHT.dec()
        with self._room:
            self._room.notify()
        if error is None:
            metrics.DELIVERY.observe(message.latency() or 0.0)
            done()
        elif not self._ended:
            self._log.error("a message cannot be delivered, stopping", error=error.name())
            self._on_fatal()

    def _poll(self) -> None:
        while not self._ended:
            self._producer.poll(0.2)
            self._health.beat()

    def _check(self) -> None:
        """Ask for the topic now and then: connected means that Kafka answers and has it."""
        while not self._ended:
            pause = CHECK_SECONDS
            try:
                answer = self._producer.list_topics(self._topic, timeout=CHECK_SECONDS)
                trouble = answer.topics[self._topic].error
                if trouble is None:
                    self._health.well(HEALTH_PART)
                else:
                    self._health.unwell(HEALTH_PART, f"topic {self._topic}: {trouble.name()}")
                    pause = 1.0
            except KafkaException as error:
                reason = error.args[0]
                self._health.unwell(HEALTH_PART, f"no answer ({reason.name()})")
                pause = 0.5
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._ended and time.monotonic() < deadline:
            time.sleep(0.1)

    def _connection_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # pyright: ignore[reportPrivateUsage] - a public code
            self._health.unwell(HEALTH_PART, "no broker reachable")
        if error.fatal():
            self._log.error("the Kafka client cannot go on, stopping", error=error.name())
            self._on_fatal()


class _Forwarded(logging.Handler):
    """What the Kafka client library says, as log lines of ours."""

    def __init__(self, log: BoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, "kafka client", message=record.getMessage())


def _client_log(log: BoundLogger) -> logging.Logger:
    logger = logging.Logger("kafka-client", logging.INFO)
    logger.addHandler(_Forwarded(log))
    return logger
