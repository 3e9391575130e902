"""The turn: of several gateways one at a time reads the MQTT broker, by a lock in the ledger's database."""

import threading
from collections.abc import Callable
from typing import Final

from structlog.stdlib import BoundLogger

from fleetmeter_workers.gateway.mqtt_entrance import HEALTH_PART, MqttEntrance
from fleetmeter_workers.ledger.database import AWAY, Connection
from fleetmeter_workers.telemetry import Health

POLL_SECONDS: Final = 1.0
LOCK: Final = 0x666C6D71


class Turn:
    """An entrance while the lock is ours. The broker keeps one session for all, so none misses a message.

    The lock only spares them to throw each other out: the broker itself lets one connection have the session.
    So a turn goes on while Postgres is away, and ends once another gateway has the lock.
    """

    def __init__(
        self,
        entrance: Callable[[], MqttEntrance],
        connect: Callable[[], Connection],
        health: Health,
        log: BoundLogger,
    ) -> None:
        """`entrance` makes a new one for each turn; `connect` opens the ledger."""
        self._entrance = entrance
        self._connect = connect
        self._health = health
        self._log = log
        self._reading: MqttEntrance | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="turn", daemon=True)

    def start(self) -> None:
        """Begin to ask for the turn."""
        self._thread.start()

    def stop_receiving(self) -> None:
        """Give the turn back."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        connection: Connection | None = None
        held = away = False
        while not self._stopped.is_set():
            try:
                if connection is None:
                    connection, held = self._connect(), False
                # The lock lives as long as its session: asking anything shows that it does.
                held = self._ask(connection) if not held else bool(connection.execute("SELECT"))
                self._take(held)
                away = False
            except AWAY as error:
                connection, held = None, False
                if not away:
                    self._log.warning("turn unknown, it stays as it is", reason=type(error).__name__)
                away = True
                if self._reading is None:
                    self._health.well(HEALTH_PART)
            self._stopped.wait(POLL_SECONDS)
        self._take(False)
        if connection is not None:
            connection.close()

    def _ask(self, connection: Connection) -> bool:
        ((held,),) = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (LOCK,)).fetchall()
        return held

    def _take(self, held: bool) -> None:
        if held and self._reading is None:
            self._log.info("reads the MQTT broker")
            self._reading = self._entrance()
            self._reading.start()
        elif not held:
            if self._reading is not None:
                self._reading.stop_receiving()
                self._reading = None
                self._log.info("another gateway reads the MQTT broker")
            self._health.well(HEALTH_PART)
