"""The loop: take, decide, commit; wait while an engine is away, and go on from what the ledger says."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import msgspec
import psycopg

from fleetmeter_api.region import Region
from fleetmeter_rules.conservation import violations
from fleetmeter_wire.message import Refusal
from fleetmeter_workers.consumer import lookup, metrics
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.pace import Pace
from fleetmeter_workers.consumer.plan import draw, uids
from fleetmeter_workers.consumer.record import Message, read
from fleetmeter_workers.consumer.source import KafkaAwayError, MismatchError, Source
from fleetmeter_workers.consumer.write import FencedError, StaleError, Topic, Writer, Written
from fleetmeter_workers.ledger import offsets
from fleetmeter_workers.ledger.database import AWAY, NOT_MIGRATED, RETRY, Connection, connect, reason
from fleetmeter_workers.telemetry import Health

_MOST_BYTES: Final = 16 * 1024 * 1024
_GATHER_SECONDS: Final = 0.2
_HOUSEKEEPING_SECONDS: Final = 5.0
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
_TRIES: Final = 5
_EX_DATAERR: Final = 65

_POISON = (psycopg.DataError, psycopg.IntegrityError, ValueError, ArithmeticError, LookupError, TypeError)
"""What one record can do to a whole batch; the batch is split until that record stands alone."""


class Loop:
    """One consumer. It owns no truth: position, decisions and counters are the ledger's."""

    def __init__(self, region: Region, source: Source, health: Health, log: Any) -> None:
        """Nothing is read or written before `run`."""
        self._region = region
        self._source = source
        self._health = health
        self._log = log
        self._stop = threading.Event()
        self._wait = _FIRST_WAIT
        self._next_housekeeping = 0.0
        self._since: dict[str, int] = {"records": 0, "billed": 0, "duplicate": 0, "quarantined": 0}

    def stop(self) -> None:
        """Finish the batch in hand, then return from `run`; may be called from a signal handler."""
        self._stop.set()

    def run(self) -> int:
        """Consume until stopped (0), or until the topic and the ledger do not go together (65)."""
        while not self._stop.is_set():
            try:
                with connect("consumer") as connection:
                    self._serve(connection)
            except AWAY as error:
                self._pause("postgres", reason(error))
            except NOT_MIGRATED as error:
                first = str(error).partition("\n")[0]
                self._pause("postgres", f"the schema is not migrated to this version: {first}")
            except KafkaAwayError as error:
                self._pause("kafka", str(error))
            except MismatchError as error:
                self._health.unwell("kafka", str(error))
                self._log.error("stopped", error=str(error))
                return _EX_DATAERR
        self._report()
        return 0

    def _pause(self, part: str, reason: str) -> None:
        """Not ready, and wait: longer each time, up to five seconds."""
        self._health.unwell(part, reason)
        self._health.beat()
        self._log.warning("waiting", part=part, reason=reason, seconds=self._wait)
        self._stop.wait(self._wait)
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def _serve(self, connection: Connection) -> None:
        """Consume over one connection; a new one begins with the offsets that the ledger holds by then."""
        known = lookup.load(connection, self._region)
        writer = Writer(connection, self._reposition(connection), alone=not self._source.shared)
        self._health.well("postgres")
        self._wait = _FIRST_WAIT

        def decide(messages: Sequence[Message]) -> None:
            nonlocal known
            known = lookup.fresh(connection, known)
            metrics.BATCH.observe(len(messages))
            known = self._commit(connection, writer, known, messages)

        # The next batch is taken and read while Postgres is busy with this one. Nobody uses the connection
        # but the batch in hand, until it is done.
        with ThreadPoolExecutor(1, "batch") as executor:
            in_hand: Future[None] | None = None
            pace, began = Pace(), time.monotonic()
            while not self._stop.is_set():
                self._health.beat()
                changed, due = self._source.assignment_changed(), time.monotonic() >= self._next_housekeeping
                if changed or due:
                    changed |= self._fenced(in_hand)
                    in_hand = None
                if changed:
                    self._reposition(connection)
                if due:
                    self._keep_house(connection)
                records = self._source.take(pace.most, _MOST_BYTES, _GATHER_SECONDS)
                messages = [read(record) for record in records]
                if self._fenced(in_hand):
                    in_hand = None
                    self._reposition(connection)
                    continue
                in_hand = executor.submit(decide, messages) if messages else None
                began, last = time.monotonic(), began
                pace.note(len(messages), began - last)
            self._fenced(in_hand)

    def _fenced(self, in_hand: "Future[None] | None") -> bool:
        """Wait for the batch in hand; whether another consumer has decided it, so that what was taken after
        it must be dropped. Raises what the batch raised."""
        if in_hand is None:
            return False
        try:
            in_hand.result()
        except FencedError as error:
            self._log.info("fenced", reason=str(error))
            return True
        return False

    def _reposition(self, connection: Connection) -> Topic:
        """Go on from the offsets that the ledger holds. Raises MismatchError."""
        topic_id, partitions = self._source.describe()
        topic = Topic(self._source.topic, topic_id)
        stored = offsets.read_offsets(connection, topic.name)
        for partition in sorted(partitions - stored.keys()):
            first = self._source.first_offset(partition)
            offsets.claim_partition(connection, topic.name, partition, topic_id, first)
        stored = offsets.read_offsets(connection, topic.name)
        for partition, row in stored.items():
            if row.topic_id != topic_id:
                raise MismatchError(
                    f"the topic {topic.name} was made anew: the offset of partition {partition} belongs to "
                    f"topic id {row.topic_id}, Kafka has {topic_id}. Restore Kafka's volume; only if its "
                    "records are lost for good, delete the topic's rows of partition_offset"
                )
        owned = self._source.owned(partitions)
        self._source.position({p: (stored[p].next_offset, stored[p].leader_epoch) for p in owned})
        metrics.REPOSITIONS.inc()
        self._log.info("positioned", offsets={str(p): stored[p].next_offset for p in sorted(owned)})
        self._health.well("kafka")
        return topic

    def _commit(
        self, connection: Connection, writer: Writer, known: Knowledge, messages: Sequence[Message]
    ) -> Knowledge:
        """Write the messages: as one transaction or, if one of them can't be written, in smaller ones."""
        try:
            return self._write(connection, writer, known, messages)
        except _POISON as error:
            if len(messages) == 1:
                return self._write(connection, writer, known, [self._poison(messages[0], error)])
            middle = len(messages) // 2
            known = self._commit(connection, writer, known, messages[:middle])
            return self._commit(connection, writer, known, messages[middle:])

    def _poison(self, message: Message, error: Exception) -> Message:
        code = error.sqlstate if isinstance(error, psycopg.Error) else None
        name = f"{type(error).__name__} {code or ''}".strip()
        self._log.error(
            "set aside what cannot be written",
            partition=message.record.partition,
            offset=message.record.offset,
            error=name,
        )
        return msgspec.structs.replace(
            message, outcome=Refusal("unparseable", f"the ledger could not hold it: {name}")
        )

    def _write(
        self, connection: Connection, writer: Writer, known: Knowledge, messages: Sequence[Message]
    ) -> Knowledge:
        """One transaction; drawn up again if the ledger moved under it."""
        for attempt in range(1, _TRIES + 1):
            began = time.monotonic()
            lookup.learn_devices(connection, known, uids(messages))
            try:
                written = writer.write(draw(messages, known), known)
            except StaleError:
                known = lookup.load(connection, self._region)
            except RETRY:
                if attempt == _TRIES:
                    raise
                self._stop.wait(0.01 * attempt)
            else:
                metrics.COMMIT_SECONDS.observe(time.monotonic() - began)
                self._count(written, messages)
                return known
        raise FencedError("the registry changed under the batch again and again")

    def _count(self, written: Written, messages: Sequence[Message]) -> None:
        counters = written.counters
        metrics.RECORDS.inc(len(messages))
        for fate in ("billed", "duplicate", "quarantined"):
            metrics.ITEMS.labels(fate).inc(getattr(counters, fate))
            self._since[fate] += getattr(counters, fate)
        self._since["records"] += len(messages)
        for code, number in written.tally.reasons.items():
            metrics.QUARANTINED.labels(code).inc(number)
        metrics.WATERMARK.set(max(message.record.log_time for message in messages).timestamp())

    def _keep_house(self, connection: Connection) -> None:
        """Every few seconds: is Kafka there, has the topic grown, do the counters hold, what is behind."""
        self._next_housekeeping = time.monotonic() + _HOUSEKEEPING_SECONDS
        _, partitions = self._source.describe()
        stored = offsets.read_offsets(connection, self._source.topic)
        stands = {partition: row.next_offset for partition, row in stored.items()}
        if partitions - stored.keys() or self._source.moved(stands):
            self._reposition(connection)
        for partition, row in stored.items():
            for broken in violations(row.counters):
                self._log.error("conservation is broken", partition=partition, law=broken)
            for name in ("records", "decoded", "not_billable", "undecodable"):
                metrics.CONSERVATION.labels(str(partition), name).set(getattr(row.counters, name))
            for name in ("items", "billed", "duplicate", "quarantined"):
                metrics.CONSERVATION.labels(str(partition), name).set(getattr(row.counters, name))
        for partition, behind in self._source.lag().items():
            metrics.LAG.labels(str(partition)).set(behind)
        self._source.inform_group()
        self._health.well("kafka")
        self._report()

    def _report(self) -> None:
        if self._since["records"]:
            self._log.info("decided", **self._since)
            self._since = dict.fromkeys(self._since, 0)
