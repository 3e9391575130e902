"""Each hostile envelope through Kafka and Postgres: its declared fate, its bytes, nothing else harmed."""

import json
from collections import Counter
from typing import Any

from .hostile_envelopes import ALL, NOON, Hostile

CLASSES = 60


def good(sequence: int) -> bytes:
    """A message that is as it should be."""
    return json.dumps({"device": "meter-1", "epoch": "1", "seq": sequence}).encode()


def items_of(hostile: Hostile) -> int:
    """How many rows it makes if it is billed."""
    found = json.loads(hostile.raw) if hostile.reason is None else {}
    return len(found.get("items", [None]))


def send_all(line: Any) -> None:
    """Each between two good ones, all in one partition, so that they share batches."""
    for number, hostile in enumerate(ALL):
        line.send(good(number), stated=NOON)
        line.send(hostile.raw, hostile.adapter, stated=NOON, headers=hostile.headers)
    line.send(good(len(ALL)), stated=NOON)


def test_each_gets_its_declared_fate(line: Any) -> None:
    """Set aside whole or by item with the declared reason and the bytes as they were, or billed; the rest of
    its batch is billed; nothing crashes; reading it all again adds nothing."""
    assert len({hostile.name for hostile in ALL}) == len(ALL) >= CLASSES
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    send_all(line)
    line.drain()
    aside = {
        offset: (reason, item == -1, None if raw is None else bytes(raw))
        for offset, item, reason, raw in line.rows(
            "SELECT record_offset, item, reason, raw FROM quarantine WHERE item <= 0"
        )
    }
    found = {hostile.name: aside.get(2 * number + 1) for number, hostile in enumerate(ALL)}
    expected = {h.name: None if h.reason is None else (h.reason, h.whole, h.raw) for h in ALL}
    assert {name: fate for name, fate in found.items() if fate != expected[name]} == {}
    assert aside.keys() <= {2 * number + 1 for number in range(len(ALL))}, "something good was set aside"
    billed = sum(items_of(hostile) for hostile in ALL if hostile.reason is None)
    assert line.value("SELECT count(*)::int FROM event WHERE verdict = 0") == len(ALL) + 1 + billed
    assert line.decided() == line.sent
    (worker,) = line.workers
    assert errors(worker) == []
    before = line.contents()
    line.ledger.execute("UPDATE partition_offset SET next_offset = 0")
    line.drain()
    assert line.contents() == before, "reading it again changed something"
    assert errors(line.workers[-1]) == []


def test_sent_again_all_are_copies_or_set_aside_again(line: Any) -> None:
    """A second delivery of everything bills nothing more."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    send_all(line)
    line.drain()
    rows = "SELECT * FROM event ORDER BY event_key"
    before, first = line.rows(rows), Counter(line.reasons())
    send_all(line)
    line.drain()
    assert [row for row in line.rows(rows) if row not in before] == []
    undecided = Counter(h.reason for h in ALL if h.whole and h.reason is not None)
    again = Counter(line.reasons())
    assert again - first == undecided, "only what has no identity is set aside a second time"


def errors(worker: Any) -> list[str]:
    """The lines of a worker's log that speak of a fault."""
    text = worker.log.read_text()
    assert "Traceback" not in text, text
    return [str(each) for each in worker.lines if each["level"] == "error"]
