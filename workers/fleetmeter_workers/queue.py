"""Where the topic ends, and where an instant lies in it: Kafka's offsets, the found ones remembered."""

import threading
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage] - documented, yet not in __all__
)

from fleetmeter_workers.settings import KafkaSettings

_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 3.0
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class QueueAwayError(Exception):
    """Kafka did not answer, or has no such topic."""


class Queue:
    """The topic's offsets. Threads may share it."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """Prepare a client; nothing is asked yet. Raises SettingsError without a bootstrap address."""
        self.topic = kafka.topic
        self._client = AdminClient({**kafka.client_config(), "log_level": 3})
        self._lock = threading.Lock()
        self._failed_at = float("-inf")
        self._found: dict[tuple[datetime, int], int] = {}

    def ends(self) -> dict[int, int]:
        """The end offset of each partition, read after the call: what was acknowledged before lies below.

        Raises QueueAwayError, at once when Kafka did not answer a moment ago.
        """
        return self._edge(OffsetSpec.latest())

    def begins(self) -> dict[int, int]:
        """The first offset that each partition still has: its retention has taken what came before.

        Raises QueueAwayError.
        """
        return self._edge(OffsetSpec.earliest())

    def _edge(self, spec: OffsetSpec | None) -> dict[int, int]:
        with self._lock:
            if time.monotonic() - self._failed_at < _RETRY_SECONDS:
                raise QueueAwayError("Kafka did not answer a moment ago")
            try:
                return self._ask(self._partitions(), spec)
            except (KafkaException, QueueAwayError) as error:
                self._failed_at = time.monotonic()
                raise QueueAwayError(f"Kafka did not answer: {error}") from error

    def required(self, cut_off: datetime, ends: dict[int, int]) -> dict[int, int]:
        """How far each partition must be consumed so that nothing received before the cut-off is missing.

        It is the first offset with a log time at or after the cut-off; where there is none yet, the end in
        `ends`, which must have been read after the cut-off. Raises QueueAwayError.
        """
        with self._lock:
            missing = [partition for partition in ends if (cut_off, partition) not in self._found]
            if missing:
                spec = OffsetSpec.for_timestamp(-((_EPOCH - cut_off) // _MILLISECOND))
                try:
                    asked = self._ask(missing, spec)
                except KafkaException as error:
                    raise QueueAwayError(f"Kafka did not answer: {error}") from error
                # An offset once found stays; a partition without one may get it with its next record.
                self._found |= {
                    (cut_off, partition): offset for partition, offset in asked.items() if offset >= 0
                }
            return {partition: self._found.get((cut_off, partition), end) for partition, end in ends.items()}

    def _partitions(self) -> list[int]:
        found = self._client.list_topics(self.topic, timeout=_ANSWER_SECONDS).topics[self.topic]
        if found.error is not None:
            raise QueueAwayError(f"topic {self.topic}: {found.error.name()}")
        return sorted(found.partitions)

    def _ask(self, partitions: Iterable[int], spec: OffsetSpec | None) -> dict[int, int]:
        request: dict[Any, Any] = {TopicPartition(self.topic, partition): spec for partition in partitions}
        # The library leaves the answer's type open.
        answers: dict[TopicPartition, Any] = cast(Any, self._client).list_offsets(
            request, request_timeout=_ANSWER_SECONDS
        )
        return {place.partition: int(each.result(_ANSWER_SECONDS).offset) for place, each in answers.items()}
