"""Killed, doubled and cut off consumers lose nothing and double nothing; the sums hold throughout."""

import json
import signal
import threading
from typing import Any

import psycopg
import pytest

from fleetmeter_api.region import Region
from fleetmeter_rules.instant import from_micros
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.consumer import lookup
from fleetmeter_workers.consumer.plan import draw, uids
from fleetmeter_workers.consumer.record import Record, read
from fleetmeter_workers.consumer.write import FencedError, Topic, Writer
from fleetmeter_workers.ledger import offsets
from fleetmeter_workers.ledger.database import connect

LAW = """
SELECT
    (SELECT count(*) FROM event WHERE verdict = 0) = (SELECT coalesce(sum(billed), 0) FROM partition_offset),
    (SELECT coalesce(sum(events), 0) FROM usage_hour) = (SELECT coalesce(sum(billed), 0) FROM
    partition_offset), (SELECT coalesce(sum(events), 0) FROM period_count) = (SELECT coalesce(sum(billed), 0)
    FROM partition_offset), (SELECT count(*) FROM quarantine) = (SELECT coalesce(sum(quarantined +
    undecodable), 0) FROM partition_offset), (SELECT coalesce(sum(records), 0) FROM partition_offset)
        = (SELECT coalesce(sum(next_offset), 0) FROM partition_offset)
"""


class Auditor:
    """Checks the ledger's sums in one snapshot after the other, in a thread, until it is stopped."""

    def __init__(self, dsn: str) -> None:
        self.looks = 0
        self.broken: list[tuple[bool, ...]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(dsn,), daemon=True)
        self._thread.start()

    def _run(self, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True, options="-c search_path=fleetmeter") as session:
            while not self._stop.wait(0.05):
                held = session.execute(LAW).fetchone()
                self.looks += 1
                if held is None or not all(held):
                    self.broken.append(held or ())

    def finish(self) -> None:
        """Stop, and fail if any look found a broken sum."""
        self._stop.set()
        self._thread.join(30)
        assert self.looks > 0
        assert self.broken == []


@pytest.fixture
def loaded(line: Any) -> Any:
    """The traces in Kafka, poison among them, and nothing decided yet."""
    line.set_up_traces()
    line.send(b"poison", "chirpstack", partition=0)
    line.send_traces()
    line.send_events("stranger", range(50), partition=2)
    line.flush()
    return line


def expect_everything_once(line: Any) -> None:
    """The frames of both traces, one poison, fifty strangers: nothing lost, nothing doubled."""
    keys = set()
    for name in ("chirpstack-wyres-32.ndjson.gz", "helium-ems-04b1c1.ndjson.gz"):
        for raw, _ in line.trace(name):
            frame = json.loads(raw)
            if "fCnt" in frame or "fcnt" in frame:
                keys.add((name, frame.get("devaddr"), frame.get("fCnt", frame.get("fcnt"))))
    assert line.value("SELECT count(*)::int FROM event WHERE verdict = 0") == len(keys)
    assert line.reasons() == {"unparseable": 1, "unknown_device": 50}
    assert line.decided() == line.sent
    assert all(line.rows(LAW)[0])


def test_killed_again_and_again(loaded: Any) -> None:
    """kill -9 in the middle of batches, a new one each time: the ledger's sums hold at every moment."""
    line = loaded
    auditor = Auditor(line.database.dsn())
    for step in range(1, 6):
        worker = line.consume()
        line.await_true(lambda step=step: line.decided() >= min(line.sent, step * 3000), f"step {step}")
        worker.kill()
    line.drain()
    auditor.finish()
    expect_everything_once(line)


def test_two_at_once_fence_each_other(loaded: Any) -> None:
    """Two consumers read the same partitions: each batch is one's alone, by the offset row."""
    line = loaded
    auditor = Auditor(line.database.dsn())
    workers = [line.consume(), line.consume()]
    line.await_true(lambda: line.decided() == line.sent, "both together")
    assert [worker.stop() for worker in workers] == [0, 0]
    assert any(each["event"] == "fenced" for worker in workers for each in worker.lines)
    auditor.finish()
    expect_everything_once(line)


def test_a_zombie_finishes_its_batch_in_vain(line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that was away while another took over finds the offset moved, and nothing of its batch is
    written."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    for name, value in line.environment("consumer").items():
        monkeypatch.setenv(name, value)
    region = Region.model_validate(line.region)
    topic = Topic(line.topic, line.value("SELECT gen_random_uuid()"))
    at = line.instant("2023-01-10T00:00:00Z")
    history = Headers("json", "mqtt", "t", 0, "uplink/json", "20230101-20231001", int(at.timestamp()) * 10**6)
    records = [
        Record(
            0,
            n,
            0,
            from_micros(n),
            tuple(encode_headers(history)),
            json.dumps({"device": "meter-1", "epoch": "1", "seq": n}).encode(),
        )
        for n in range(10)
    ]
    with connect("first") as first, connect("second") as second:
        offsets.claim_partition(first, topic.name, 0, topic.topic_id, 0)
        known = lookup.load(first, region)
        batch = [read(record) for record in records]
        lookup.learn_devices(first, known, uids(batch))
        Writer(second, topic).write(draw(batch[:7], known), known)
        before = line.contents()
        with pytest.raises(FencedError):
            Writer(first, topic).write(draw(batch, known), known)
        assert line.contents() == before
        Writer(first, topic).write(draw(batch[7:], known), known)
    assert line.value("SELECT count(*)::int FROM event") == 10


def test_a_new_topic_of_the_same_name_is_refused(line: Any) -> None:
    """Offsets that belong to another topic are never used: the consumer stops and says what to do."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    line.send_events("meter-1", range(5), stated=line.instant("2023-01-10T00:00:00Z"))
    line.drain()
    line.ledger.execute("UPDATE partition_offset SET topic_id = gen_random_uuid()")
    worker = line.consume()
    assert worker.process.wait(180) == 65
    assert "was made anew" in worker.lines[-2]["error"]


def test_a_hole_in_the_log_is_refused(line: Any) -> None:
    """An offset that Kafka does not have stops the consumer; nothing is skipped in silence."""
    line.sign(line.contract("c-1", "acme"))
    line.send_events("meter-1", range(5), stated=line.instant("2023-01-10T00:00:00Z"))
    line.drain()
    line.ledger.execute(
        "UPDATE partition_offset SET next_offset = 900, counted_offset = 900 WHERE partition = 0"
    )
    worker = line.consume()
    assert worker.process.wait(180) == 65
    assert "no longer holds the offset" in worker.lines[-2]["error"]


def test_engines_away(loaded: Any, kafka: Any, postgres: Any) -> None:
    """Postgres restarts and Kafka stands still under load: the consumer waits and goes on where the ledger
    stands."""
    line = loaded
    worker = line.consume()
    line.await_true(lambda: line.decided() > 0, "the first batch")
    postgres.stop()
    line.await_true(lambda: any(each.get("part") == "postgres" for each in worker.lines), "it to notice")
    postgres.start()
    postgres.await_ready()
    line.reconnect()
    kafka.process.pause()
    try:
        line.send_events("stranger", range(50, 60), partition=2)
    finally:
        kafka.process.resume()
    line.flush()
    line.await_true(lambda: line.decided() == line.sent, "everything")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(90) == 0
    assert line.reasons()["unknown_device"] == 60
    assert all(line.rows(LAW)[0])
