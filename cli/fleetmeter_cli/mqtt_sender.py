"""Sends messages by MQTT 5, QoS 1, many in flight; ends with the gateway's receipt that all are durable."""

import secrets
import threading
import time
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fleetmeter_cli.sender import SendError

WINDOW = 2000
NO_SUBSCRIBER = 16
REPROBE_SECONDS = 0.5


class MqttSender:
    """One connection to a broker, publishing to one topic.

    The broker's acknowledgement only says that the broker has a message. So the last one asks for a
    receipt, which the gateway sends when that message and all before it are durable in the region's queue.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        password: str,
        topic: str,
        *,
        patience: float,
        receipt: bool = True,
    ) -> None:
        """Connect. `patience`: seconds without any progress after which SendError is raised.

        Without `receipt` the broker's acknowledgements are all that is waited for.
        """
        self._address = f"{host}:{port}"
        self._topic = topic
        self._patience = patience
        self._turn = threading.Condition()
        self._connected = False
        self._refusal = ""
        self._window = 1
        self._confirmed = 0
        self._published = 0
        self._unheard = 0
        self._last: tuple[bytes, int | None] | None = None
        self._receipts = f"receipts/{secrets.token_hex(8)}" if receipt else None
        self._asked = 0
        self._answered = 0
        self._connections = 0
        self._progress_at = time.monotonic()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.username_pw_set(user, password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_receipt
        # The window is kept here, to what the broker allows.
        self._client.max_inflight_messages_set(0)
        self._client.reconnect_delay_set(1, 2)
        self._client.connect_async(host, port, keepalive=30)
        self._client.loop_start()

    @property
    def confirmed(self) -> int:
        """Messages that the broker has acknowledged so far."""
        return self._confirmed

    def send(self, raw: bytes, received: int | None) -> None:
        """Publish the message before this one; the last one is kept back until `finish`."""
        if self._last is not None:
            self._push(*self._last)
        self._last = (raw, received)

    def finish(self) -> None:
        """Publish the last message and wait for every acknowledgement and for the gateway's receipt."""
        if self._last is None:
            return
        while True:
            # A receipt does not outlive the connection that asked for it.
            connection = max(self._connections, 1)
            self._asked += 1
            self._push(*self._last, last=True)
            self._await(lambda: self._confirmed == self._published)
            if self._receipts is None:
                break
            self._await(lambda c=connection: self._answered == self._asked or self._connections > c)
            if self._answered == self._asked:
                break
        self._last = None

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _push(self, raw: bytes, received: int | None, *, last: bool = False) -> None:
        if self._published == 0:
            self._probe(raw, received, last=last)
            return
        self._await(lambda: self._published - self._confirmed < self._window)
        self._publish(raw, received, last=last)

    def _probe(self, raw: bytes, received: int | None, *, last: bool) -> None:
        """The first message goes alone, again and again until a gateway's subscription is there."""
        deadline = time.monotonic() + self._patience
        while True:
            self._unheard = 0
            self._publish(raw, received, last=last)
            self._await(lambda: self._confirmed + self._unheard == self._published)
            if not self._unheard:
                return
            self._published -= 1
            if time.monotonic() > deadline:
                raise SendError(
                    f"No gateway is subscribed at {self._address}, so the broker would drop the messages. "
                    "Wait until the region's gateway is ready, then load again."
                )
            time.sleep(REPROBE_SECONDS)

    def _publish(self, raw: bytes, received: int | None, *, last: bool) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if received is not None:
            properties.UserProperty = ("received", str(received))
        if last and self._receipts is not None:
            properties.ResponseTopic = f"{self._receipts}/{self._asked}"
        with self._turn:
            self._published += 1
        self._client.publish(self._topic, raw, qos=1, properties=properties)

    def _await(self, condition: Any) -> None:
        with self._turn:
            while not condition():
                if self._refusal:
                    raise SendError(self._refusal)
                if time.monotonic() - self._progress_at > self._patience:
                    raise SendError(self._stuck())
                self._turn.wait(0.5)
            if self._refusal:
                raise SendError(self._refusal)

    def _stuck(self) -> str:
        """Why nothing goes on, as far as it can be told from here."""
        remedy = "Look at it, then load again: a message that comes twice is billed once."
        if not self._connected:
            trouble = f"The broker at {self._address} cannot be reached"
        elif self._confirmed == self._published:
            trouble = "The gateway has not said that the messages are durable (it, or Kafka, may be away)"
        else:
            trouble = f"The broker at {self._address} confirms nothing"
        return f"{trouble}; waited {self._patience:.0f} s with {self._confirmed} messages confirmed. {remedy}"

    def _on_connect(
        self,
        client: Client,
        _data: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        with self._turn:
            if reason.is_failure:
                self._refusal = (
                    f"The broker at {self._address} refuses us: {reason}. Check user and password."
                )
            else:
                self._connected = True
                self._connections += 1
                if self._receipts is not None:
                    client.subscribe(f"{self._receipts}/+", qos=1)
                self._progress_at = time.monotonic()
                # Without the property the broker takes 65,535 (MQTT 5 section 3.2.2.3.3).
                self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
            self._turn.notify_all()

    def _on_disconnect(self, *_details: Any) -> None:
        with self._turn:
            self._connected = False

    def _on_receipt(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        with self._turn:
            self._answered = int(message.topic.rpartition("/")[2])
            self._turn.notify_all()

    def _on_publish(
        self, _client: Client, _data: Any, _mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._turn:
            if reason.is_failure:
                self._refusal = (
                    f"The broker at {self._address} refuses messages on {self._topic}: {reason}. "
                    "A backfill needs the user `backfill`, live messages the user `ingest`."
                )
            elif reason.value == NO_SUBSCRIBER:
                self._unheard += 1
                if self._confirmed:
                    self._refusal = (
                        f"The gateway's subscription at {self._address} is gone. Load the same files again."
                    )
            else:
                self._confirmed += 1
            self._progress_at = time.monotonic()
            self._turn.notify_all()
