"""The MQTT entrance: a persistent session, each message acknowledged once it is durable in Kafka."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from structlog.stdlib import BoundLogger

from fleetmeter_workers.gateway import metrics
from fleetmeter_workers.gateway.acceptance import Acceptance, Arrival
from fleetmeter_workers.gateway.usage_topic import UsageTopic
from fleetmeter_workers.settings import MqttSettings, require
from fleetmeter_workers.telemetry import Health

HEALTH_PART = "mqtt"
TOPICS = ("uplink/#", "backfill/#")
RECEIVE_MAXIMUM = 4000
"""Messages the broker may send ahead of our acknowledgements; it bounds our memory while Kafka is away."""
NEVER_EXPIRES = 0xFFFFFFFF
KEEPALIVE_SECONDS = 30
RECEIPTS = "receipts/"
"""Where a sender may ask to hear that its message, and all before it on its topic, are durable in Kafka."""
TAKEN_OVER = 142
RETRY_SECONDS = 1
RETRY_AFTER_TAKEOVER_SECONDS = 30


class Awaited:
    """A message whose acknowledgement waits for Kafka."""

    __slots__ = ("durable", "mid", "receipt")

    def __init__(self, mid: int, receipt: str | None) -> None:
        """`mid` is the packet identifier of the broker's PUBLISH, `receipt` the topic of a wanted receipt."""
        self.mid = mid
        self.receipt = receipt
        self.durable = False


class Acknowledgements:
    """PUBACKs in the order of receipt, as MQTT 5 section 4.6 asks, and none across a reconnect.

    A packet identifier means another message on another connection, so what was awaited on a lost one is
    forgotten: the broker sends it again.
    """

    def __init__(self, acknowledge: Callable[[Awaited], None]) -> None:
        """`acknowledge` sends the PUBACK of a message, and its receipt."""
        self._acknowledge = acknowledge
        self._lock = threading.Lock()
        self._awaited: deque[Awaited] = deque()

    def expect(self, mid: int, receipt: str | None) -> Callable[[], None]:
        """Note a received message; returns what to call once it is durable."""
        awaited = Awaited(mid, receipt)
        with self._lock:
            queue = self._awaited
            queue.append(awaited)
        return lambda: self._durable(queue, awaited)

    def forget(self) -> None:
        """The connection is gone."""
        with self._lock:
            self._awaited = deque()

    def _durable(self, queue: deque[Awaited], awaited: Awaited) -> None:
        with self._lock:
            awaited.durable = True
            if queue is not self._awaited:
                return
            while queue and queue[0].durable:
                self._acknowledge(queue.popleft())


class MqttEntrance:
    """One subscriber with a stable client id; a single connection keeps a device's messages in order."""

    def __init__(
        self,
        mqtt: MqttSettings,
        client_id: str,
        acceptance: Acceptance,
        usage: UsageTopic,
        health: Health,
        log: BoundLogger,
        on_fatal: Callable[[], None],
    ) -> None:
        """Describe the entrance; `start` connects."""
        self._acceptance = acceptance
        self._usage = usage
        self._health = health
        self._log = log
        self._on_fatal = on_fatal
        self._address = (require(mqtt.host, "FLEETMETER_MQTT_HOST"), mqtt.port)
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5, manual_ack=True
        )
        self._client.username_pw_set(mqtt.user, mqtt.password)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_connect_fail = self._unreachable
        self._client.on_message = self._received
        self._acknowledgements = Acknowledgements(self._acknowledge)

    def start(self) -> None:
        """Connect and receive, in a thread of its own; reconnect for ever."""
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = NEVER_EXPIRES
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.reconnect_delay_set(RETRY_SECONDS, RETRY_SECONDS)
        host, port = self._address
        self._client.connect_async(
            host, port, keepalive=KEEPALIVE_SECONDS, clean_start=False, properties=properties
        )
        self._client.loop_start()

    def stop_receiving(self) -> None:
        """Leave the broker; it keeps the session, and what was not acknowledged comes again."""
        self._client.disconnect()
        self._client.loop_stop()

    def _acknowledge(self, awaited: Awaited) -> None:
        self._client.ack(awaited.mid, 1)
        metrics.ACCEPTED.labels("mqtt").inc()
        if awaited.receipt is not None:
            self._client.publish(awaited.receipt, b"durable", qos=1)

    def _connected(
        self, client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._health.unwell(HEALTH_PART, f"the broker refused us: {reason}")
            self._log.error("mqtt refused", reason=str(reason))
            return
        self._client.reconnect_delay_set(RETRY_SECONDS, RETRY_SECONDS)
        # A retained message is a copy of one that was already counted.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.subscribe([(topic, options) for topic in TOPICS])
        metrics.MQTT_CONNECTED.set(1)
        self._health.well(HEALTH_PART)
        self._log.info("mqtt connected", session_present=flags.session_present)

    def _disconnected(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        self._acknowledgements.forget()
        metrics.MQTT_CONNECTED.set(0)
        self._health.unwell(HEALTH_PART, f"disconnected: {reason}")
        self._log.warning("mqtt disconnected", reason=str(reason))
        if reason.value == TAKEN_OVER:
            # Another gateway has our session: two that fight for it would only send each other duplicates.
            self._client.reconnect_delay_set(RETRY_AFTER_TAKEOVER_SECONDS, RETRY_AFTER_TAKEOVER_SECONDS)

    def _unreachable(self, _client: Client, _data: Any) -> None:
        self._health.unwell(HEALTH_PART, "the broker cannot be reached")

    def _received(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            arrival = from_mqtt(message, received=time.time_ns() // 1000)
            outgoing = self._acceptance.outgoing(arrival)
            done = _nothing
            if message.qos:
                done = self._acknowledgements.expect(message.mid, _receipt_topic(message))
            self._usage.put(outgoing, done)
        except Exception:
            # Unacknowledged: it comes again to the next process, and to people's eyes in the meantime.
            self._log.exception("an mqtt message could not be taken in, stopping")
            self._on_fatal()
            raise


def from_mqtt(message: MQTTMessage, *, received: int) -> Arrival:
    """What came in by MQTT: the topic tells adapter and backfill, the broker's rights tell the sender."""
    levels = message.topic.split("/")
    backfill = levels[1] if levels[0] == "backfill" and len(levels) > 1 else None
    position = 1 if backfill is None else 2
    return Arrival(
        entry="mqtt",
        principal="ingest" if backfill is None else "backfill",
        adapter=levels[position] if len(levels) > position else "",
        topic=message.topic,
        raw=bytes(message.payload),
        received=received,
        backfill=backfill,
        stated=_user_property(message, "received"),
    )


def _receipt_topic(message: MQTTMessage) -> str | None:
    """The response topic of a sender that wants a receipt; only those under `receipts/` are answered."""
    topic: str | None = getattr(message.properties, "ResponseTopic", None)
    wanted = topic is not None and topic.startswith(RECEIPTS) and not set("+#") & set(topic)
    return topic if wanted else None


def _user_property(message: MQTTMessage, name: str) -> str | None:
    pairs: list[tuple[str, str]] = getattr(message.properties, "UserProperty", None) or []
    return next((value for key, value in pairs if key == name), None)


def _nothing() -> None:
    """A message of QoS 0 has no acknowledgement."""
