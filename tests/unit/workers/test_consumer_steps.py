"""The consumer's pure steps, driven without Kafka or Postgres: read, draw, judge, compare, count."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleetmeter_api.contract import Contract
from fleetmeter_api.region import Region
from fleetmeter_rules.conservation import Counters, violations
from fleetmeter_rules.contracts import Version
from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.ownership import Binding
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.plan import Plan, draw
from fleetmeter_workers.consumer.record import Message, Record, read
from fleetmeter_workers.consumer.settle import Fate, Settled, compare, firsts, judge
from fleetmeter_workers.consumer.tally import Tally, count
from fleetmeter_workers.ledger.backfills import Backfill
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.events import KnownEvent
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import ContractPeriod, Phase
from fleetmeter_workers.ledger.registry import Device

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
EVER = datetime.min.replace(tzinfo=UTC)
TOPIC = uuid.UUID(int=7)


def knowledge(**contract: Any) -> Knowledge:
    """A region with one customer, one contract and one device, `meter-1`."""
    region = Region.model_validate(
        {
            "name": "eu",
            "spec": {
                "jurisdiction": "EU",
                "calendar": {"firstPeriod": "2026-01-01"},
                "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
                "invoicing": {"sellerSecretName": "seller", "series": "EU"},
                "broker": {"type": "Embedded"},
                "store": {"type": "Embedded"},
            },
        }
    )
    document = {
        "contract": "c-1",
        "customer": {"code": "acme", "name": "Acme", "address": ["1 High Street"]},
        "plan": "fleet",
        "validFrom": "2026-01-01",
    }
    versions = (Version(1, NOON, Contract.model_validate(document | contract)),)
    return Knowledge(
        region=region,
        change=0,
        metrics={"messages": 1},
        contracts=ContractBook(region, {"c-1": versions}),
        backfills={},
        customers={"acme": 5},
        devices={"meter-1": Device(3, "meter-1", "hall", "default", True, (Binding("acme", EVER, None, 1),))},
    )


def message(
    offset: int, raw: bytes, *, adapter: str = "json", at: datetime = NOON, **headers: Any
) -> Message:
    """A message as the consumer reads it."""
    written = Headers(adapter, "mqtt", "t", to_micros(at), f"uplink/{adapter}", **headers)
    return read(Record(0, offset, 0, at, tuple(encode_headers(written)), raw))


def sent(offset: int, sequence: int, quantity: str = "1", **more: Any) -> Message:
    """A message with one item."""
    items = [{"metric": "messages", "quantity": quantity}]
    raw = json.dumps({"device": "meter-1", "epoch": "1", "seq": sequence, "items": items}).encode()
    return message(offset, raw, **more)


def settle(
    plan: Plan, known: Knowledge, stored: dict[bytes, KnownEvent] | None = None, phase: Phase = "open"
) -> list[Settled]:
    """What becomes of a plan on a ledger that holds `stored`."""
    held = stored or {}
    rows = {
        p.key: ContractPeriod(
            9, p.contract, p.customer, p.billing_period, p.bounds.start, p.bounds.end, p.cut_off,
            p.late_usage, phase, 1, None,
        )
        for p in plan.periods
    }  # fmt: skip
    verdicts = [judge(candidate, rows) for candidate in plan.candidates]
    added = {row.key for row in firsts(verdicts)} - held.keys()
    return compare(verdicts, added, held, known.customers)


def tally(plan: Plan, settled: Sequence[Settled], counted: int = 0) -> Tally:
    """The tally of a batch of partition 0, of which offsets below `counted` were counted before."""
    start = PartitionOffset(0, TOPIC, 0, 0, counted, None, Counters())
    return count(plan, settled, {0: start}, TOPIC)


def test_the_first_of_a_batch_wins() -> None:
    """Copies inside one batch: the first is billed, an equal one is a duplicate, another one is a
    conflict."""
    known = knowledge()
    plan = draw([sent(0, 1), sent(1, 1), sent(2, 1, "2"), sent(3, 2)], known)
    settled = settle(plan, known)
    assert [one.fate for one in settled] == [Fate.BILLED, Fate.DUPLICATE, Fate.QUARANTINED, Fate.BILLED]
    assert settled[2].reason == "id_conflict"
    assert settled[2].first_fingerprint == plan.candidates[0].fingerprint
    found = tally(plan, settled)
    assert violations(found.counters[0]) == []
    ((_, total),) = found.hours.items()
    assert (total.events, total.quantity) == (2, Decimal(2))


def test_a_replay_counts_nothing() -> None:
    """What is read again below the counted offset neither counts nor adds a sum; its quarantine row is
    offered again."""
    known = knowledge()
    plan = draw([sent(0, 1), message(1, b"poison"), sent(2, 2)], known)
    once = {c.key: KnownEvent(c.fingerprint, 9, 5) for c in plan.candidates}
    found = tally(plan, settle(plan, known, once), counted=3)
    assert found.counters == {0: Counters()}
    assert (found.hours, found.periods, found.duplicates) == ({}, {}, {})
    assert [row.reason for row in found.quarantine] == ["unparseable"]


def test_only_declared_metrics_of_a_platform_count() -> None:
    """A frame's bytes are dropped where the region does not declare them; an envelope's metric is set
    aside."""
    known = knowledge()
    known.devices["00000000000000aa"] = replace(known.devices["meter-1"], uid="00000000000000aa")
    frame = {"devEUI": "00000000000000aa", "fCnt": 1, "fPort": 1, "data": "AQID", "rxInfo": []}
    steam = {"device": "meter-1", "epoch": "1", "seq": 1, "items": [{"metric": "steam", "quantity": "1"}]}
    plan = draw(
        [
            message(0, json.dumps(frame).encode(), adapter="chirpstack"),
            message(1, json.dumps(steam).encode()),
        ],
        known,
    )
    assert [(c.metric_id, c.reason) for c in plan.candidates] == [(1, None), (None, "metric_unknown")]


@pytest.mark.parametrize("phase", ["sealing", "final"])
def test_a_sealed_period_takes_nothing(phase: Phase) -> None:
    """Usage in time for a period that is sealed already is late usage, flagged; a copy stays a copy."""
    known = knowledge()
    plan = draw([sent(0, 1), sent(1, 2)], known)
    stored = {plan.candidates[0].key: KnownEvent(plan.candidates[0].fingerprint, 9, 5)}
    settled = settle(plan, known, stored, phase)
    assert [(one.fate, one.reason) for one in settled] == [
        (Fate.DUPLICATE, None),
        (Fate.QUARANTINED, "late_after_final"),
    ]
    assert "clock went back" in settled[1].detail


def test_raw_bytes_are_kept_once_a_record() -> None:
    """Of several items of one record that are set aside the first row has the bytes."""
    known = knowledge()
    known.devices["meter-1"] = replace(known.devices["meter-1"], registered=False, bindings=())
    items = [{"metric": "messages", "quantity": "1"}] * 3
    raw = json.dumps({"device": "meter-1", "epoch": "1", "seq": 1, "items": items}).encode()
    plan = draw([message(0, raw)], known)
    found = tally(plan, settle(plan, known))
    assert [(row.item, row.raw) for row in found.quarantine] == [(0, raw), (1, None), (2, None)]
    assert found.counters[0].items == found.counters[0].quarantined == 3


def test_a_backfill_takes_its_range_until_it_ends() -> None:
    """History counts while its backfill is open, and after it for what the queue held then; nothing else
    does."""
    known = knowledge()
    january, february = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    asked = Backfill("b", january, february, "pending", None, None, None)
    inside, outside = to_micros(january), to_micros(february)
    batch = [
        sent(0, 1, backfill="b", stated=inside),
        sent(1, 2, backfill="b", stated=outside),
        sent(2, 3, backfill="b"),
        sent(3, 4, backfill="other", stated=inside),
        sent(4, 5, backfill="b", stated=inside),
    ]
    known.backfills["b"] = asked
    assert [c.reason for c in draw(batch, known).candidates] == [
        None, "backfill_range", "backfill_range", "backfill_closed", None,
    ]  # fmt: skip
    known.backfills["b"] = replace(asked, state="completed", end_offsets={0: 3}, decided_at=NOON)
    assert [c.reason for c in draw(batch, known).candidates][0::4] == [None, "backfill_closed"]
    known.backfills["b"] = replace(asked, state="reverted", end_offsets={0: 3}, decided_at=NOON)
    assert draw(batch, known).candidates[0].reason == "backfill_closed"


def judged(
    policy: str, received_at: datetime, phase: Phase = "final", revision: int = 1, **more: Any
) -> Settled:
    """A message of 10 March that was received then; March is period 1, the period of receipt 2."""
    known = knowledge(lateUsage=policy, **more)
    age = (received_at - NOON) // timedelta(milliseconds=1)
    body = {"device": "meter-1", "epoch": "1", "seq": 1, "uptime": 0, "sentUptime": age}
    plan = draw([message(0, json.dumps(body).encode(), at=received_at)], known)
    rows = {
        p.key: ContractPeriod(
            1 if NOON in p.bounds else 2, p.contract, p.customer, p.billing_period, p.bounds.start,
            p.bounds.end, p.cut_off, p.late_usage, phase if NOON in p.bounds else "open", revision, None,
        )
        for p in plan.periods
    }  # fmt: skip
    verdicts = [judge(candidate, rows) for candidate in plan.candidates]
    (settled,) = compare(verdicts, {row.key for row in firsts(verdicts)}, {}, known.customers)
    found = tally(plan, [settled])
    assert violations(found.counters[0]) == []
    assert [row.revision for row in firsts(verdicts)] == [settled.verdict.revision]
    return settled


CUT_OFF = datetime(2026, 4, 4, tzinfo=UTC)


def test_deferred_usage_is_booked_where_it_came_and_names_its_month() -> None:
    for phase in ("open", "final"):
        found = judged("Defer", CUT_OFF, phase)
        assert (found.fate, found.period_id, found.verdict.belongs_to) == (Fate.BILLED, 2, 1)
        assert (found.verdict.revision, found.verdict.late) == (0, True)
    in_time = judged("Defer", CUT_OFF - timedelta(milliseconds=1), "open")
    assert (in_time.period_id, in_time.verdict.belongs_to, in_time.verdict.revision) == (1, None, 1)


def test_a_reopened_periods_revision_is_a_matter_of_receipt_alone() -> None:
    """Neither the phase nor the time of consumption decides; only what is sealed already, for a broker's
    clock that went back."""
    for phase in ("open", "final"):
        for received_at, revision, due in (
            (CUT_OFF, 2, "2026-05-04"),
            (datetime(2026, 5, 1, tzinfo=UTC), 3, "2026-06-04"),
            (datetime(2027, 3, 31, tzinfo=UTC), 13, "2027-04-04"),
        ):
            found = judged("Reopen", received_at, phase).verdict
            assert (found.period_id, found.revision, found.reason) == (1, revision, None)
            assert found.due_at == datetime.fromisoformat(f"{due}T00:00:00+00:00")
    assert judged("Reopen", CUT_OFF, revision=2).verdict.revision == 3


def test_a_contract_writes_off_only_what_its_policy_sets_aside() -> None:
    written = judged("Grace", CUT_OFF, lateAfterFinal="WriteOff")
    assert (written.fate, written.reason) == (Fate.QUARANTINED, "late_after_final")
    assert written.verdict.resolution == "written_off"
    assert judged("Grace", CUT_OFF).verdict.resolution is None
    stepped = judged("Grace", CUT_OFF - timedelta(milliseconds=1), lateAfterFinal="WriteOff")
    assert (stepped.reason, stepped.verdict.resolution) == ("late_after_final", None)


def test_events_near_an_edge_are_counted_as_in_doubt() -> None:
    """Half-open on both sides, with the batch that bills them; no copy is, and nothing set aside."""
    known = knowledge(gracePeriodSeconds=86_400)
    april, near = datetime(2026, 4, 1, tzinfo=UTC), timedelta(seconds=300)
    moments = (
        april - near - timedelta(microseconds=1),
        april - near,
        april + near - timedelta(microseconds=1),
        april + near,
    )
    raws = [
        json.dumps({"device": "meter-1", "epoch": "1", "seq": n, "eventAt": at.isoformat()}).encode()
        for n, at in enumerate(moments)
    ]
    batch = [message(n, raw, at=april + timedelta(hours=1)) for n, raw in enumerate(raws)]
    plan = draw(batch, known)
    settled = settle(plan, known)
    found = tally(plan, settled)
    assert found.boundaries == [(9, plan.candidates[1].key), (9, plan.candidates[2].key)]
    assert [each.boundary for each in found.periods.values()] == [2]
    again = {c.key: KnownEvent(c.fingerprint, 9, 5) for c in plan.candidates}
    assert tally(plan, settle(plan, known, again)).boundaries == []
    late = draw([message(0, raws[1], at=april + timedelta(days=2))], known)
    assert tally(late, settle(late, known)).boundaries == []
