"""Bad input among good: each is set aside with its reason and bytes, the rest of the batch is billed."""

import json
from typing import Any

import httpx
import pytest

JANUARY = "2023-01-10T12:00:00Z"


def conservation(line: Any) -> dict[str, int]:
    """The counters of all partitions, checked against the rows themselves."""
    names = (
        "records",
        "decoded",
        "not_billable",
        "undecodable",
        "items",
        "billed",
        "duplicate",
        "quarantined",
    )
    sums = ", ".join(f"sum({name})::int" for name in names)
    counters = dict(zip(names, line.rows(f"SELECT {sums} FROM partition_offset")[0], strict=True))
    assert counters["billed"] == line.value("SELECT count(*)::int FROM event WHERE verdict = 0")
    whole = line.value("SELECT count(*)::int FROM quarantine WHERE item = -1")
    assert (counters["undecodable"], counters["quarantined"]) == (
        whole,
        line.value("SELECT count(*)::int FROM quarantine") - whole,
    )
    assert counters["billed"] == line.value("SELECT coalesce(sum(events), 0)::int FROM usage_hour")
    return counters


def event(device: str, sequence: int, **more: Any) -> bytes:
    """A message of the project's own form."""
    return json.dumps({"device": device, "epoch": "1", "seq": sequence, **more}).encode()


@pytest.fixture
def signed(line: Any) -> Any:
    """The line with one contract and one device."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    return line


def test_a_conflict_keeps_the_first(signed: Any) -> None:
    """Same identity, other content: the first stays as decided, the newcomer is kept with the first's
    fingerprint."""
    line, at = signed, signed.instant(JANUARY)

    def reading(quantity: str) -> bytes:
        return event("meter-1", 1, items=[{"metric": "energy", "quantity": quantity}])

    line.send(reading("1.5"), stated=at)
    line.send(reading("1.50"), stated=at)
    line.send(reading("2"), stated=at)
    line.drain()
    line.send(reading("3"), stated=at)
    line.send(reading("1.5"), stated=at)
    line.drain()
    assert line.rows("SELECT quantity FROM event") == [(line.decimal("1.5"),)]
    conflicts = line.rows(
        "SELECT reason, raw, first_fingerprint = (SELECT fingerprint FROM event) FROM quarantine ORDER BY "
        "record_offset"
    )
    assert [(row[0], bytes(row[1]), row[2]) for row in conflicts] == [
        ("id_conflict", reading("2"), True),
        ("id_conflict", reading("3"), True),
    ]
    counters = conservation(line)
    assert (counters["billed"], counters["duplicate"], counters["quarantined"]) == (1, 2, 2)
    assert line.rows("SELECT events, duplicates, quarantined FROM period_count") == [(1, 2, 2)]


def test_registered_just_before_is_found(signed: Any) -> None:
    """A device that was unknown a moment ago is billed from its registration on; what was set aside stays
    so."""
    line, at = signed, signed.instant(JANUARY)
    worker = line.consume()
    line.send_events("meter-2", range(3), stated=at)
    line.flush()
    line.await_true(lambda: line.reasons() == {"unknown_device": 3}, "three unknown")
    for number in range(3, 20):
        if number == 3:
            line.register(("meter-2", "acme"))
        line.send_events("meter-2", [number], stated=at)
        line.flush()
    line.send_events("meter-2", range(3), stated=at)
    line.flush()
    line.await_true(lambda: line.decided() == line.sent, "the rest")
    assert worker.stop() == 0
    assert line.reasons() == {"unknown_device": 3}
    counters = conservation(line)
    assert (counters["billed"], counters["duplicate"]) == (17, 3)


def test_late_usage_by_contract(line: Any) -> None:
    """R before the cut-off counts for its own period; after it the contract decides, never the order of
    arrival."""
    line.sign(
        line.contract("c-grace", "acme"),
        line.contract("c-defer", "globex", lateUsage="Defer", gracePeriodSeconds=0),
    )
    line.region["spec"]["deviceClasses"] = [{"name": "default", "maxOfflineSeconds": 864000}]
    line.region["spec"]["retention"] = {"queueHours": 1000}
    line.register(("meter-1", "acme"), ("meter-2", "globex"))
    happened = "2023-01-31T23:00:00Z"
    received = ["2023-01-31T23:00:01Z", "2023-02-03T23:59:59.999999Z", "2023-02-04T00:00:00Z"]
    for device in ("meter-1", "meter-2"):
        for sequence, stamp in reversed(list(enumerate(received))):
            line.send(event(device, sequence, eventAt=happened), stated=line.instant(stamp))
    line.drain()
    counted = line.rows(
        "SELECT contract, billing_period, events, late, quarantined FROM period_count "
        "JOIN contract_period USING (period_id) ORDER BY 1, 2"
    )
    assert counted == [
        ("c-defer", "eu-202301", 1, 0, 0),
        ("c-defer", "eu-202302", 2, 2, 0),
        ("c-grace", "eu-202301", 2, 2, 1),
    ]
    assert line.reasons() == {"late_after_final": 1}
    conservation(line)


def test_a_completed_backfill_is_closed(signed: Any) -> None:
    """What Kafka held when the backfill was completed counts; what came after does not, but a copy is a
    copy."""
    line, at = signed, signed.instant(JANUARY)
    line.send_events("meter-1", range(5), stated=at)
    line.drain()
    line.complete_backfill()
    line.send_events("meter-1", range(3, 8), stated=at)
    line.drain()
    counters = conservation(line)
    assert (counters["billed"], counters["duplicate"], line.reasons()) == (5, 2, {"backfill_closed": 3})


def test_the_worker_says_how_it_is(signed: Any) -> None:
    """Ready once both engines answer; metrics count; no line of the log names a device or a customer."""
    line = signed
    port = line.free_port()
    worker = line.consume(FLEETMETER_METRICS_PORT=str(port))
    line.send_events("meter-1", range(7), stated=line.instant(JANUARY))
    line.send_events("stranger", range(2), stated=line.instant(JANUARY))
    line.flush()
    line.await_true(lambda: line.decided() == 9, "nine records")
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{base}/healthz").status_code == 200
        assert client.get(f"{base}/readyz").status_code == 200
        shown = client.get(f"{base}/metrics").text
    assert 'fleetmeter_consumer_items_total{fate="billed"} 7.0' in shown
    assert 'fleetmeter_consumer_quarantined_total{reason="unknown_device"} 2.0' in shown
    assert worker.stop() == 0
    text = worker.log.read_text()
    assert not any(name in text for name in ("meter-1", "stranger", "acme"))
