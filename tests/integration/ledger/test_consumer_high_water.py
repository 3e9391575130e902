"""The two ways into the ledger come to the same: rows copied above the high water, and rows merged."""

import itertools
import json
import random
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetmeter_api.region import Region
from fleetmeter_rules.instant import from_micros
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.consumer import lookup
from fleetmeter_workers.consumer.plan import draw, uids
from fleetmeter_workers.consumer.record import Record, read
from fleetmeter_workers.consumer.write import FencedError, Topic, Writer, Written
from fleetmeter_workers.ledger import event_copy, offsets
from fleetmeter_workers.ledger.database import connect

DEVICES, WRITERS, PARTITIONS = 3, 2, 2
_examples = itertools.count(1)


@dataclass(frozen=True)
class Send:
    """One message: which device, which sequence, how much. The same pair may come with another amount."""

    device: int
    sequence: int
    quantity: int
    named: bool = True


@dataclass(frozen=True)
class Step:
    """A batch of one partition, by one of the writers; `anew`: that consumer has just been started."""

    writer: int
    partition: int
    sends: tuple[Send, ...]
    anew: bool


amounts = st.sampled_from([1, 1, 1, 2])
sends = st.builds(Send, st.integers(0, DEVICES - 1), st.integers(0, 12), amounts, st.booleans())
steps = st.lists(
    st.builds(
        Step,
        st.integers(0, WRITERS - 1),
        st.integers(0, PARTITIONS - 1),
        st.lists(sends, min_size=1, max_size=8).map(tuple),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


class Consumers:
    """Consumers of one topic, each with its own connection; `prefix` tells apart what they write."""

    def __init__(self, line: Any, prefix: str, *, alone: bool) -> None:
        self._line = line
        self._prefix = prefix
        self._alone = alone
        self._topic = Topic(f"{line.topic}-{prefix}", uuid.uuid4())
        self._region = Region.model_validate(line.region)
        self._sessions = [connect(prefix) for _ in range(WRITERS)]
        for partition in range(PARTITIONS):
            offsets.claim_partition(self._sessions[0], self._topic.name, partition, self._topic.topic_id, 0)
        self._known = [lookup.load(session, self._region) for session in self._sessions]
        self._writers = [self._writer(session) for session in self._sessions]
        self._next = [0] * PARTITIONS

    def _writer(self, session: Any) -> Writer:
        return Writer(session, self._topic, alone=self._alone)

    def write(self, step: Step, epoch: int) -> Written:
        """Decide the step's batch."""
        if step.anew:
            self._writers[step.writer] = self._writer(self._sessions[step.writer])
        first = self._next[step.partition]
        records = [self._record(step.partition, first + n, send, epoch) for n, send in enumerate(step.sends)]
        batch = [read(record) for record in records]
        known = self._known[step.writer]
        lookup.learn_devices(self._sessions[step.writer], known, uids(batch))
        written = self._writers[step.writer].write(draw(batch, known), known)
        self._next[step.partition] = first + len(records)
        return written

    def _record(self, partition: int, offset: int, send: Send, epoch: int) -> Record:
        headers = Headers("json", "mqtt", "t", 0, "uplink/json", "20230101-20231001", JANUARY)
        name: dict[str, Any] = {"epoch": str(epoch), "seq": send.sequence}
        if not send.named:
            name = {"id": f"{epoch}/{send.sequence}"}
        items = [{"metric": "messages", "quantity": str(send.quantity)}]
        raw = json.dumps({"device": f"{self._prefix}-{send.device}", "items": items} | name).encode()
        return Record(partition, offset, 0, from_micros(0), tuple(encode_headers(headers)), raw)

    def close(self) -> None:
        """Disconnect."""
        for session in self._sessions:
            session.close()

    def contents(self, epoch: int) -> list[tuple[Any, ...]]:
        """What the ledger holds of this epoch's messages, without what tells the prefixes apart."""
        return self._line.rows(
            "SELECT right(uid, 1), CASE WHEN canonical = '' "
            "THEN encode(substr(uuid_send(event_key), 5), 'hex') "
            "ELSE replace(encode(canonical, 'escape'), %s, '') END AS name, "
            "event_at, event.received_at, fingerprint, period_id, uncertainty, metric_id, verdict, "
            "time_method, revision, evidence, late, quantity "
            "FROM event JOIN device USING (device_id) WHERE uid LIKE %s AND (canonical LIKE %s OR "
            "substr(uuid_send(event_key), 5, 4) = int4send(%s)) ORDER BY 1, 2",
            self._prefix,
            f"{self._prefix}-%",
            f"%{epoch}/%".encode(),
            epoch,
        )

    def counts(self) -> list[tuple[Any, ...]]:
        """The counters of its partitions."""
        return self._line.rows(
            "SELECT partition, next_offset, records, items, billed, duplicate, quarantined "
            "FROM partition_offset WHERE topic = %s ORDER BY partition",
            self._topic.name,
        )


JANUARY = 1_673_308_800_000_000


@pytest.fixture
def signed(line: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A line with one customer's devices, and this process connecting as its consumer."""
    line.sign(line.contract("c-1", "acme"))
    line.register(*((f"{prefix}-{n}", "acme") for prefix in ("quick", "plain") for n in range(DEVICES)))
    for name, value in line.environment("consumer").items():
        monkeypatch.setenv(name, value)
    return line


@pytest.fixture
def both(signed: Any) -> Iterator[tuple[Consumers, Consumers]]:
    """Consumers that copy where they can, and consumers that always merge."""
    fast, plain = Consumers(signed, "quick", alone=True), Consumers(signed, "plain", alone=False)
    yield fast, plain
    fast.close()
    plain.close()


@pytest.fixture
def server_log(engine_logs: Path) -> Iterator[None]:
    """Nothing of the test may leave a line about a duplicate in the server's log."""
    log = engine_logs / "postgres.log"
    before = log.stat().st_size
    yield
    with log.open("rb") as lines:
        lines.seek(before)
        assert b"duplicate key" not in lines.read()


@pytest.mark.usefixtures("server_log")
def test_copied_or_merged_comes_to_the_same(
    both: tuple[Consumers, Consumers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any arrivals, by any of several consumers, restarted or not: the fast way's ledger is the merge's."""
    fast, plain = both
    copied = _count_copies(monkeypatch)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps)
    def compare(story: list[Step]) -> None:
        epoch = next(_examples)
        for step in story:
            quick, slow = fast.write(step, epoch), plain.write(step, epoch)
            assert [one.fate for one in quick.settled] == [one.fate for one in slow.settled]
        assert fast.contents(epoch) == plain.contents(epoch)
        assert fast.counts() == plain.counts()

    compare()
    assert copied[0] > 0


def _count_copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    copied = [0]
    copy = event_copy.copy

    def counted(connection: Any, rows: Any) -> None:
        copied[0] += len(rows)
        copy(connection, rows)

    monkeypatch.setattr(event_copy, "copy", counted)
    return copied


def _mixed(first: int, chance: random.Random) -> tuple[Send, ...]:
    return tuple(Send(n % DEVICES, first + chance.randrange(12), 1) for n in range(30))


@pytest.mark.usefixtures("server_log")
def test_two_at_once_on_the_same_devices(signed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two consumers at the same time, copies of the same messages in two partitions: each is billed once."""
    consumers, copied = Consumers(signed, "quick", alone=True), _count_copies(monkeypatch)
    chance = random.Random(5)
    stories = [
        [
            Step(
                writer,
                writer,
                tuple(Send(n % DEVICES, at + chance.randrange(12), 1) for n in range(30)),
                False,
            )
            for at in range(0, 300, 5)
        ]
        for writer in range(WRITERS)
    ]

    def run(story: Sequence[Step]) -> None:
        for step in story:
            consumers.write(step, epoch=7)

    threads = [threading.Thread(target=run, args=(story,)) for story in stories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    named = {(send.device, send.sequence) for story in stories for step in story for send in step.sends}
    assert signed.value("SELECT count(*)::int FROM event") == len(named)
    assert sum(row[3] for row in consumers.counts()) == sum(len(s.sends) for story in stories for s in story)
    assert sum(row[4] for row in consumers.counts()) == len(named)
    consumers.close()
    assert copied[0] > 0


def test_a_row_from_nowhere_costs_speed_only(signed: Any) -> None:
    """A writer that takes no part in the lock has put a row above the high water: the batch is merged."""
    consumers = Consumers(signed, "quick", alone=True)
    consumers.write(Step(0, 0, (Send(0, 1, 1),), False), epoch=9)
    signed.ledger.execute(
        "INSERT INTO event SELECT (jsonb_populate_record(event, jsonb_build_object('event_key', "
        "encode(substr(uuid_send(event_key), 1, 8) || '\\x0000000000053000', 'hex')::uuid))).* FROM event"
    )
    written = consumers.write(Step(0, 0, (Send(0, 4, 1), Send(0, 5, 1), Send(0, 6, 1)), False), epoch=9)
    assert [one.fate.value for one in written.settled] == ["billed", "duplicate", "billed"]
    again = consumers.write(Step(0, 0, (Send(0, 6, 1), Send(0, 7, 1)), False), epoch=9)
    assert [one.fate.value for one in again.settled] == ["duplicate", "billed"]
    consumers.close()


def test_a_fenced_batch_leaves_no_mark(signed: Any) -> None:
    """What a fenced consumer believed is forgotten: it goes on by what the other one has written."""
    fast = Consumers(signed, "quick", alone=True)
    fast.write(Step(0, 0, (Send(0, 1, 1),), False), epoch=11)
    fast.write(Step(1, 0, (Send(0, 2, 1), Send(0, 3, 1)), False), epoch=11)
    fast._next[0] = 1
    with pytest.raises(FencedError):
        fast.write(Step(0, 0, (Send(0, 2, 1),), False), epoch=11)
    fast._next[0] = 3
    written = fast.write(Step(0, 0, (Send(0, 3, 1), Send(0, 4, 1)), False), epoch=11)
    assert [one.fate.value for one in written.settled] == ["duplicate", "billed"]
    fast.close()
