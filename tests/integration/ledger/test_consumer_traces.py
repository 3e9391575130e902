"""The real traces through Kafka, consumer and ledger, each sent twice, and read again from the beginning."""

import json
from collections import Counter
from datetime import datetime
from typing import Any


def frames(line: Any) -> dict[tuple[str, str], int]:
    """Distinct frames by owner and month of their first copy, counted without any code of the line."""
    first: dict[tuple[Any, ...], tuple[str, datetime]] = {}
    for raw, received_at in line.trace("helium-ems-04b1c1.ndjson.gz"):
        frame = json.loads(raw)
        first.setdefault((frame["dev_eui"], frame["devaddr"], frame["fcnt"]), ("globex", received_at))
    for raw, received_at in line.trace("chirpstack-wyres-32.ndjson.gz"):
        frame = json.loads(raw)
        if "fCnt" in frame:
            first.setdefault((frame["devEUI"], frame["fCnt"]), ("acme", received_at))
    return Counter((owner, f"eu-{at:%Y%m}") for owner, at in first.values())


def test_traces_are_billed_once(line: Any) -> None:
    """Twice the same 17,896 records: every frame is billed once, every copy is counted, nothing is set
    aside."""
    line.set_up_traces()
    line.send_traces()
    line.drain()
    billed = line.rows(
        "SELECT customer.code, billing_period, events FROM period_count JOIN contract_period USING "
        "(period_id) "
        "JOIN customer USING (customer_id) WHERE events > 0"
    )
    assert {(customer, period): events for customer, period, events in billed} == frames(line)
    once = line.contents()
    line.send_traces()
    line.drain()
    assert line.contents()["event"] == once["event"]
    assert line.contents()["usage_hour"] == once["usage_hour"]
    totals = line.rows(
        "SELECT sum(records)::int, sum(not_billable)::int, sum(billed)::int, sum(duplicate)::int, "
        "sum(quarantined)::int FROM partition_offset"
    )
    distinct = sum(frames(line).values())
    status = 2 * 368
    assert totals == [(2 * 17896, status, distinct, 2 * 17896 - status - distinct, 0)]
    assert line.value("SELECT sum(duplicates)::int FROM duplicate_hour") == 2 * 17896 - status - distinct


def test_a_replay_changes_nothing(line: Any) -> None:
    """With every offset set back to 0 the consumer reads all again, and the ledger stays as it was."""
    line.set_up_traces()
    line.send_traces()
    line.send(b"not json", "helium", partition=2)
    line.send_events("nobody", range(3), partition=2)
    line.drain()
    before = line.contents()
    assert sum(row[7] for row in before["offset"]) == sum(frames(line).values())
    line.ledger.execute("UPDATE partition_offset SET next_offset = 0")
    line.drain()
    assert line.contents() == before
