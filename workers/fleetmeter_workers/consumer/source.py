"""The source: records of the topic from exactly the offsets that the ledger holds, without a hole."""

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from fleetmeter_rules.instant import from_micros
from fleetmeter_workers.consumer.record import Record
from fleetmeter_workers.ledger.offsets import topic_uuid
from fleetmeter_workers.settings import KafkaSettings
from fleetmeter_workers.topic_rights import GROUP

_CHUNK: Final = 500
_Pairs: TypeAlias = Iterable[tuple[str, bytes | str | None]]
_TRUNCATED: Final = (
    "its log no longer holds the offset at which the ledger stands: records were lost to retention or an "
    "unclean "
    "election. Find out which; then set next_offset of partition_offset to an offset that Kafka has"
)


@lru_cache(maxsize=1024)
def _log_time(millis: int) -> datetime:
    """A log time; where much comes in, many records have the same."""
    return from_micros(millis * 1000)


class MismatchError(Exception):
    """The topic and the ledger's offsets do not belong together; going on would lose or invent usage."""


class KafkaAwayError(Exception):
    """Kafka does not answer."""


class Source:
    """A Kafka consumer that never commits its position as truth. `shared`: partitions come from the consumer
    group, for several replicas; else this one reads them all."""

    def __init__(self, settings: KafkaSettings, *, shared: bool) -> None:
        """Connect in the background; nothing is read before `position`."""
        self.topic = settings.topic
        self.shared = shared
        self._expected: dict[int, int] = {}
        self._changed = threading.Event()
        self._group_partitions: set[int] = set()
        config: dict[str, Any] = settings.client_config() | {
            "group.id": GROUP,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": False,
            "partition.assignment.strategy": "range",
            "max.poll.interval.ms": 86_400_000,
            # Every partition's records wait in one queue; it is short, so that a customer with little to say
            # is not behind all that another one has piled up.
            "queued.min.messages": 1000,
            "queued.max.messages.kbytes": 8192,
            # How soon Kafka is asked again after a full queue; the client's own second would starve us.
            "fetch.queue.backoff.ms": 5,
            "fetch.message.max.bytes": 128 * 1024,
            "fetch.max.bytes": 1024 * 1024,
            "fetch.wait.max.ms": 100,
            "log_level": 2,
        }
        self._consumer = Consumer(config)
        self._admin = AdminClient(settings.client_config() | {"socket.timeout.ms": 5000, "log_level": 0})
        if shared:
            self._consumer.subscribe([self.topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is read until the loop has positioned us at the ledger's offsets.
        consumer.assign([])
        self._group_partitions = {partition.partition for partition in partitions}
        self._expected = {}
        self._changed.set()

    def _on_revoke(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        consumer.unassign()
        self._group_partitions = set()
        self._expected = {}
        self._changed.set()

    def describe(self) -> tuple[UUID, set[int]]:
        """The topic's id and its partitions. Raises KafkaAwayError, also while the topic is not there."""
        try:
            # The library leaves the types of its answers open.
            admin: Any = self._admin
            found: Any = admin.describe_topics(TopicCollection([self.topic]), request_timeout=5)[
                self.topic
            ].result()
        except KafkaException as error:
            raise KafkaAwayError(error.args[0].str()) from None
        return topic_uuid(str(found.topic_id)), {partition.id for partition in found.partitions}

    def first_offset(self, partition: int) -> int:
        """The first offset that the partition's log still has. Raises KafkaAwayError."""
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=5)
        except KafkaException as error:
            raise KafkaAwayError(error.args[0].str()) from None
        return low

    def owned(self, partitions: set[int]) -> set[int]:
        """Which of the topic's partitions this consumer reads."""
        return partitions & self._group_partitions if self.shared else partitions

    def assignment_changed(self) -> bool:
        """Whether the group has given or taken partitions since the last call."""
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def moved(self, offsets: Mapping[int, int]) -> bool:
        """Whether the ledger stands elsewhere than this consumer, all of whose batches are committed: a
        replay set it back."""
        return any(offsets.get(partition, stands) != stands for partition, stands in self._expected.items())

    def position(self, offsets: Mapping[int, tuple[int, int]]) -> None:
        """Read on from these (offset, leader epoch) by partition, and from nothing else."""
        self._expected = {partition: offset for partition, (offset, _) in offsets.items()}
        self._consumer.assign(
            [self._place(partition, *where) for partition, where in sorted(offsets.items())]
        )

    def _place(self, partition: int, offset: int, epoch: int) -> TopicPartition:
        if epoch < 0:
            return TopicPartition(self.topic, partition, offset)
        return TopicPartition(self.topic, partition, offset, leader_epoch=epoch)

    def take(self, most: int, most_bytes: int, seconds: float) -> list[Record]:
        """The next records, by partition and offset: at most so many, of so many bytes, gathered for so long.

        Empty when none came, also while Kafka is away. Raises MismatchError for a hole.
        """
        gathered: dict[int, list[Record]] = {}
        count = size = 0
        deadline = time.monotonic() + seconds
        while count < most and size < most_bytes:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            for message in self._consumer.consume(min(_CHUNK, most - count), timeout=left):
                record = self._record(message)
                if record is not None:
                    gathered.setdefault(record.partition, []).append(record)
                    count += 1
                    size += len(record.value)
        return [record for _, records in sorted(gathered.items()) for record in records]

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is not None:
            self._check(error, message.partition())
            return None
        partition, offset = message.partition() or 0, message.offset() or 0
        expected = self._expected.get(partition)
        if expected is None or offset < expected:
            return None
        if offset > expected:
            raise MismatchError(
                f"partition {partition} goes on at offset {offset}, not {expected}: {_TRUNCATED}"
            )
        kind, millis = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise MismatchError(
                f"the topic {self.topic} does not stamp records with LogAppendTime; run `fleetmeter-worker "
                "migrate`"
            )
        self._expected[partition] = offset + 1
        epoch = message.leader_epoch()
        return Record(
            partition,
            offset,
            -1 if epoch is None else epoch,
            _log_time(millis),
            tuple(cast("_Pairs", message.headers() or ())),
            message.value() or b"",
        )

    def _check(self, error: KafkaError, partition: int | None) -> None:
        """Raises MismatchError for what waiting cannot heal; the client itself heals the rest."""
        if error.code() in (
            KafkaError._AUTO_OFFSET_RESET,
            KafkaError.OFFSET_OUT_OF_RANGE,
            KafkaError._LOG_TRUNCATION,
        ):
            raise MismatchError(f"partition {partition}: {_TRUNCATED} ({error.str()})")
        if error.fatal():
            raise MismatchError(f"Kafka refuses this consumer: {error.str()}")

    def lag(self) -> dict[int, int]:
        """Records behind the end of each partition, as far as the last fetch told."""
        behind: dict[int, int] = {}
        for partition, expected in self._expected.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            if high >= 0:
                behind[partition] = max(0, high - expected)
        return behind

    def inform_group(self) -> None:
        """Commit the positions to the group, for lag tools alone: nothing here ever reads them."""
        places = [TopicPartition(self.topic, p, offset) for p, offset in sorted(self._expected.items())]
        if places:
            # What goes wrong here goes wrong for a display only.
            with suppress(KafkaException):
                self._consumer.commit(offsets=places, asynchronous=True)

    def close(self) -> None:
        """Leave the group and free the client."""
        self._consumer.close()
