"""Whose device is it: the ledger's registry, cached; Kafka's key is the customer when the message came."""

import threading
import time
from collections.abc import Callable

from structlog.stdlib import BoundLogger

from fleetmeter_workers.gateway import metrics
from fleetmeter_workers.ledger.database import AWAY, Connection

POLL_SECONDS = 1.0
FULL_READ_SECONDS = 60.0
MISS_WAIT_SECONDS = 0.5

Binding = tuple[int, int, str]
"""Valid from, valid to (microseconds since 1970, half open), customer code."""

BINDINGS = """
SELECT b.binding_id, d.uid, c.code,
       CASE WHEN isfinite(b.valid_from) THEN (extract(epoch FROM b.valid_from) * 1000000)::bigint
            ELSE -4611686018427387904 END,
       CASE WHEN isfinite(b.valid_to) THEN (extract(epoch FROM b.valid_to) * 1000000)::bigint
            ELSE 4611686018427387904 END
  FROM fleetmeter.device_binding b
  JOIN fleetmeter.device d USING (device_id)
  JOIN fleetmeter.customer c USING (customer_id)
 WHERE b.binding_id > %s
 ORDER BY b.binding_id
"""


class Registry:
    """Device owners in memory, read by a thread; the last reading serves while Postgres is away."""

    def __init__(self, connect: Callable[[], Connection], log: BoundLogger) -> None:
        """Start reading. `connect` opens the ledger as the role `gateway`."""
        self._connect = connect
        self._log = log
        self._owners: dict[str, list[Binding]] = {}
        self._last_binding = 0
        self._full_read_at = 0.0
        self._missed_at = 0.0
        # Unknown until the first reading, for which a message waits like for any other.
        self._well: bool | None = None
        self._ended = False
        self._turn = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the reading."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()
        self._thread.join(timeout=10)

    def knows(self, uid: str) -> bool:
        """Whether the cached registry has the device."""
        return uid in self._owners

    def owner(self, uid: str, at: int) -> str:
        """The customer code that owns the device at an instant (microseconds since 1970); empty when unknown.

        Of the bindings that cover the instant the latest recorded wins.
        """
        for valid_from, valid_to, customer in reversed(self._owners.get(uid, ())):
            if valid_from <= at < valid_to:
                return customer
        return ""

    def catch_up(self) -> None:
        """Wait for a reading that starts after this call, so that a device registered just before is known.

        At most once a second, at most half a second, and not at all while Postgres is away.
        """
        now = time.monotonic()
        with self._turn:
            if self._well is False or now - self._missed_at < POLL_SECONDS:
                return
            self._missed_at = now
            self._asked += 1
            mine = self._asked
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._answered >= mine or self._well is False, MISS_WAIT_SECONDS)

    def _run(self) -> None:
        connection: Connection | None = None
        while not self._ended:
            answering = self._asked
            try:
                if connection is None or connection.closed:
                    connection = self._connect()
                    self._full_read_at = 0.0
                self._read(connection)
                self._note(well=True, answering=answering)
            except AWAY as error:
                self._note(well=False, reason=type(error).__name__)
                connection = None
            with self._turn:
                self._turn.wait_for(lambda: self._ended or self._asked > self._answered, POLL_SECONDS)
        if connection is not None:
            connection.close()

    def _read(self, connection: Connection) -> None:
        """New bindings are appended; a full reading now and then finds one committed out of order."""
        if time.monotonic() - self._full_read_at >= FULL_READ_SECONDS:
            owners: dict[str, list[Binding]] = {}
            last = 0
        else:
            owners, last = self._owners, self._last_binding
        for binding_id, uid, customer, valid_from, valid_to in connection.execute(BINDINGS, (last,)):
            owners.setdefault(uid, []).append((valid_from, valid_to, customer))
            last = binding_id
        if owners is not self._owners:
            self._full_read_at = time.monotonic()
        self._owners, self._last_binding = owners, last
        metrics.REGISTRY_DEVICES.set(len(owners))
        metrics.REGISTRY_READ.set_to_current_time()

    def _note(self, *, well: bool, answering: int = 0, reason: str = "") -> None:
        with self._turn:
            changed = well is not self._well
            self._well = well
            self._answered = answering if well else self._asked
            self._turn.notify_all()
        if changed and well:
            self._log.info("registry read", devices=len(self._owners))
        elif changed:
            self._log.warning("registry away, the last reading serves", reason=reason)
