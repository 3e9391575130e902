"""The line of a storm: its topic and ledger, the workers on it, what was sent, and how far it is decided."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from confluent_kafka import Producer

from fleetmeter_rules.instant import to_micros
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.ledger import backfills

from . import documents
from .engines import TEMPLATE, Engines
from .launcher import Launched, Strike
from .truth import Sent, Truth

PARTITIONS: Final = 4
PATIENCE: Final = 45.0
"""Seconds after which a line that does not recover has failed."""


class StormError(AssertionError):
    """The line did not recover, or a part ended in a way that it never should."""


@dataclass
class Sending:
    """What was put into the topic: records, copies of earlier ones, and the bytes that must be set aside.

    `nobodys`: the copies that belong to no customer.
    """

    records: int = 0
    copies: int = 0
    nobodys: int = 0
    aside: Counter[bytes] = field(default_factory=Counter[bytes])

    def note(self, message: Sent, *, again: bool) -> None:
        """Count one; what is set aside with an identity of its own is a copy when it comes again."""
        self.records += 1
        if message.kind == "stranger copy" or (message.kind == "stranger" and again):
            self.copies += 1
            self.nobodys += 1
        elif message.kind in ("conflict", "stranger", "poison"):
            self.aside[message.raw] += 1
        elif message.kind == "copy" or again:
            self.copies += 1


class Line:
    """One topic and one ledger over running engines."""

    def __init__(self, engines: Engines, name: str, truth: Truth) -> None:
        """Make both, enter the fleet, and start nothing."""
        self.engines = engines
        self.sending = Sending()
        self.waits: list[float] = []
        """Seconds until everything sent was decided, each time it was waited for."""
        self._name = name
        self._topic = f"usage-{name}"
        self._folder = engines.directory / name
        self._folder.mkdir(exist_ok=True)
        self._workers: list[Launched] = []
        with psycopg.connect(engines.postgres.dsn(), autocommit=True) as session:
            session.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"'.encode())
        engines.kafka.create_topic(self._topic, partitions=PARTITIONS)
        config: dict[str, Any] = {"bootstrap.servers": engines.kafka.bootstrap, "log_level": 0}
        self._producer = Producer(config | {"enable.idempotence": True, "linger.ms": 5})
        self._ledger = engines.session(name)
        self._files = documents.write(self._folder)
        documents.enter(self._ledger, truth)

    def close(self) -> None:
        """End every worker, and remove topic and ledger."""
        for worker in self._workers:
            worker.end()
        self._ledger.close()
        self.engines.kafka.delete_topic(self._topic)
        self.engines.postgres.drop_database(self._name)

    def _launch(self, stage: str, *arguments: str, user: str, strike: Strike | None = None) -> Launched:
        environment = {
            **self.engines.environment(self._name, user),
            **self._files,
            "FLEETMETER_TOPIC": self._topic,
            "FLEETMETER_METRICS_PORT": "0",
            "FLEETMETER_LISTEN": "127.0.0.1",
            "FLEETMETER_ENGINE_DEADLINE_SECONDS": "60",
        }
        log = self._folder / f"{stage}-{len(self._workers)}.log"
        worker = Launched(stage, arguments, environment, log, strike)
        self._workers.append(worker)
        return worker

    def consumer(self, strike: Strike | None = None) -> Launched:
        """Start a consumer."""
        return self._launch("consumer", user="consumer", strike=strike)

    def closer(self, period: str, strike: Strike | None = None) -> Launched:
        """Start a close Job."""
        return self._launch("close", "--billing-period", period, user="closer", strike=strike)

    def consumers(self) -> list[Launched]:
        """Those that run."""
        return [w for w in self._workers if w.stage == "consumer" and w.running]

    def one_consumer(self) -> Launched:
        """The running one; a new one where none runs, and the youngest where several do.

        Raises StormError where one ended by itself: it is killed, or asked to end, or runs.
        """
        for worker in self._workers:
            if worker.stage == "consumer" and worker.status not in (None, 0, -signal.SIGKILL):
                raise StormError(f"a consumer ended with {worker.status}: {tail(worker.log)}")
        running = self.consumers()
        for worker in running[:-1]:
            worker.end()
        return running[-1] if running else self.consumer()

    def send(self, messages: list[Sent], partition: Callable[[Sent], int] | None = None) -> None:
        """Put messages into the topic, each device's into one partition, as Kafka's key does.

        With `partition` they are sent again, and may lie anywhere: their firsts are decided.
        """
        for each in messages:
            received = to_micros(each.received_at)
            headers = Headers("json", "mqtt", "storm", received, "uplink/json", documents.BACKFILL, received)
            place = (partition or _of_device)(each)
            self._producer.produce(self._topic, each.raw, partition=place, headers=encode_headers(headers))
            self.sending.note(each, again=partition is not None)
        self._producer.poll(0)

    def pause(self, seconds: float) -> None:
        """Let so much time go by; what is to be sent is sent meanwhile."""
        self._producer.poll(seconds)

    def await_true(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition came true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._producer.poll(0.02)
        return True

    def session(self) -> "psycopg.Connection[Any]":
        """A superuser's session; a new one where Postgres was killed since."""
        if self._ledger.closed or self._ledger.broken:
            self._ledger = self.engines.session(self._name)
        return self._ledger

    def _decided(self) -> int:
        query = "SELECT coalesce(sum(records), 0)::int FROM partition_offset"
        try:
            row = self.session().execute(query).fetchone()
        except psycopg.OperationalError:
            return -1
        return row[0] if row else 0

    def await_decided(self, number: int) -> None:
        """Return when the ledger has decided so many records. Raises StormError when it does not."""
        began = time.monotonic()
        while self._decided() < number:
            if time.monotonic() - began > PATIENCE:
                raise StormError(f"{self._decided()} of {number} records are decided. {self._state()}")
            if not self.consumers():
                self.one_consumer()
            self._producer.poll(0.03)
        if number == self.sending.records:
            self.waits.append(time.monotonic() - began)

    def drain(self) -> None:
        """Return when everything that was sent is decided."""
        self.one_consumer()
        if self._producer.flush(PATIENCE):
            raise StormError("Kafka did not take the messages")
        self.await_decided(self.sending.records)

    def complete_backfill(self) -> None:
        """Decide the region's backfill, as the API does; all of it must be decided."""
        ends = dict(self.session().execute("SELECT partition, next_offset FROM partition_offset").fetchall())
        if backfills.decide(self.session(), documents.BACKFILL, "completed", ends, "storm") is None:
            raise StormError("the region's backfill is not in the ledger")

    def expect_closed(self, period: str, wrote: int | None = None) -> None:
        """Run the close to its end; it must find or make the period final, with so many new invoices."""
        worker = self.closer(period)
        status = worker.wait(PATIENCE)
        said = (self._folder / "termination-log").read_text()
        if status != 0:
            raise StormError(f"the close of {period} ended with {status}: {said} {tail(worker.log)}")
        if wrote is not None and not said.startswith(f"final: {wrote} invoices written"):
            raise StormError(f"a final period was written again: {said}")

    def stop(self) -> None:
        """Ask the consumers to end; they must."""
        for worker in self.consumers():
            worker.signal(signal.SIGTERM)
            if worker.wait(PATIENCE) != 0:
                raise StormError(f"a consumer did not end when asked to: {tail(worker.log)}")

    def logs(self) -> list[Path]:
        """What the workers have logged."""
        return [worker.log for worker in self._workers if worker.log.exists()]

    def _state(self) -> str:
        """What everybody is doing, for whoever has to find out why nothing happens."""
        for worker in self.consumers():
            worker.signal(signal.SIGUSR1)
        self._producer.poll(1)
        sessions = self.session().execute(
            "SELECT application_name, state, wait_event_type, wait_event, left(query, 100), "
            "pg_blocking_pids(pid) FROM pg_stat_activity WHERE datname = current_database()"
        )
        logs = [f"{worker.log.name}: {tail(worker.log)}" for worker in self.consumers()]
        return "\n".join([*(str(row) for row in sessions.fetchall()), *logs])


def _of_device(message: Sent) -> int:
    """What is the first of an identity follows from the order of the log, so a device has one partition."""
    return sum((message.device or message.raw[:40].decode("latin-1")).encode()) % PARTITIONS


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-4000:] if log.exists() else ""
