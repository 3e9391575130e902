"""The real traces through Kafka, consumer and ledger, each sent twice, and read again from the beginning."""

import json
from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

HELIUM, CHIRPSTACK = "helium-ems-04b1c1.ndjson.gz", "chirpstack-wyres-32.ndjson.gz"
Sent = tuple[str, bytes, datetime]
"""A record: its adapter, its bytes, and when the platform received it."""


def arrivals(line: Any) -> list[tuple[tuple[Any, ...] | None, Sent]]:
    """Every line of both traces with the frame that it is a copy of, None for a status message."""
    found: list[tuple[tuple[Any, ...] | None, Sent]] = []
    for raw, received_at in line.trace(HELIUM):
        frame = json.loads(raw)
        name = ("globex", frame["dev_eui"], frame["devaddr"], frame["fcnt"])
        found.append((name, ("helium", raw, received_at)))
    for raw, received_at in line.trace(CHIRPSTACK):
        frame = json.loads(raw)
        name = ("acme", frame["devEUI"], frame["fCnt"]) if "fCnt" in frame else None
        found.append((name, ("chirpstack", raw, received_at)))
    return found


def parted(line: Any) -> tuple[dict[tuple[Any, ...], Sent], list[Sent]]:
    """The earliest copy of each frame, and all other lines."""
    firsts: dict[tuple[Any, ...], Sent] = {}
    others: list[Sent] = []
    for name, sent in sorted(arrivals(line), key=lambda each: each[1][2]):
        if name is None or name in firsts:
            others.append(sent)
        else:
            firsts[name] = sent
    return firsts, others


def frames(line: Any) -> dict[tuple[str, str], int]:
    """Distinct frames by owner and month of their first copy, counted without any code of the line."""
    firsts, _ = parted(line)
    return Counter((name[0], f"eu-{at:%Y%m}") for name, (_, _, at) in firsts.items())


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


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
@pytest.mark.parametrize("delay", [timedelta(0), timedelta(minutes=30)], ids=["shuffled", "delayed"])
def test_any_order_and_late_copies_make_the_same_ledger(line: Any, zone: str, delay: timedelta) -> None:
    """Each frame's earliest copy in any order, then the others: what is billed is what the files say."""
    calendar = {"firstPeriod": "2023-01-01", "lastPeriod": "2023-10-01", "timeZone": zone}
    line.region["spec"]["calendar"] = calendar
    line.set_up_traces()
    firsts, others = parted(line)
    chance = Random(7)
    first_copies = chance.sample(list(firsts.values()), len(firsts))
    copies = [(adapter, raw, at + delay) for adapter, raw, at in chance.sample(others, len(others))]
    for adapter, raw, stated in first_copies + copies:
        line.send(raw, adapter, stated=stated, partition=0 if adapter == "chirpstack" else 1)
    line.drain()
    billed = line.rows("SELECT customer_id, ingested_at, billing_period_id FROM billing_events")
    local = ZoneInfo(zone)
    assert Counter(billed) == Counter(
        (name[0], at, f"eu-{at.astimezone(local):%Y%m}") for name, (_, _, at) in firsts.items()
    )
    assert line.reasons() == {}


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
