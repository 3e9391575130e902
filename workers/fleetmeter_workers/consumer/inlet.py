"""The inlet: a batch's rows into the ledger, copied where they can only be new, else merged."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from fleetmeter_workers.consumer.high_water import HighWater
from fleetmeter_workers.ledger import event_copy, events, writer_lock
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import EventRow
from fleetmeter_workers.ledger.writer_lock import Standing, Writers


class Inlet:
    """Adds rows inside the caller's transaction, and keeps the high water from one to the next.

    After the commit call `committed`; a transaction that is rolled back changes nothing here.
    """

    def __init__(self, connection: Connection) -> None:
        """Nothing is known of what the ledger holds."""
        self._connection = connection
        self._high_water = HighWater()
        self._last: Writers = {}
        self._added: Sequence[EventRow] = ()
        self._standing: Standing | None = None

    def add(self, rows: Sequence[EventRow], *, alone: bool) -> set[bytes]:
        """Add the rows whose identity is new; returns their keys. The rows' keys must differ from each other.

        `alone`: try to write alone, so that rows above the high water need no comparison. Raises
        psycopg.errors.UniqueViolation if somebody without the lock has written one of those.
        """
        self._standing, self._added = None, ()
        if not rows:
            return set()
        if not alone or not writer_lock.hold_alone(self._connection):
            writer_lock.hold_together(self._connection)
            self._high_water.forget()
            return events.merge(self._connection, rows)
        self._standing = writer_lock.standing(self._connection)
        if self._standing.writers != self._last:
            self._high_water.forget()
        unknown = self._high_water.unknown(rows)
        if unknown:
            self._high_water.learn(events.last_keys(self._connection, unknown))
        above, others = self._high_water.split(rows)
        if above:
            event_copy.copy(self._connection, sorted(above, key=attrgetter("key")))
        added = events.merge(self._connection, others)
        added.update([row.key for row in above])
        self._added = [row for row in rows if row.key in added]
        return added

    def committed(self, moved: Iterable[tuple[str, int]]) -> None:
        """The transaction is committed, and has moved the offsets of these topics and partitions."""
        if self._standing is None:
            return
        self._last = {**self._standing.writers, **dict.fromkeys(moved, self._standing.transaction)}
        self._high_water.rise(self._added)
