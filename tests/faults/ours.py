"""The product's own commit as a program of the model: its plan, its steps and its order, over memory."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg

from fleetmeter_api.contract import Contract
from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import Calendar, contract_period
from fleetmeter_rules.conservation import Counters
from fleetmeter_rules.contracts import Version
from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.ownership import Binding
from fleetmeter_rules.seal import PartitionProgress, sealable
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.plan import Plan, draw
from fleetmeter_workers.consumer.record import Message, Record, read
from fleetmeter_workers.consumer.write import FencedError, Topic, Writer
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.registry import Device

from .memory_ledger import Ledger
from .replay import Io, Program

TOPIC: Final = Topic("usage", UUID(int=7))
MARCH: Final = contract_period(datetime(2026, 3, 10, tzinfo=UTC), Calendar())
APRIL: Final = contract_period(datetime(2026, 4, 10, tzinfo=UTC), Calendar())
CUT_OFF: Final = MARCH.end + timedelta(hours=72)
IN_MARCH: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
IN_GRACE: Final = MARCH.end + timedelta(hours=1)
PERIOD_IDS: Final = {MARCH.start: 3, APRIL.start: 4}
EVER: Final = datetime.min.replace(tzinfo=UTC)

Log = tuple[tuple[Message, ...], ...]
"""The messages of each partition."""


def knowledge() -> Knowledge:
    """A region that bills UTC months with 72 hours of grace: one customer, one contract, one device."""
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
    customer = {"code": "acme", "name": "Acme", "address": ["1 High Street"]}
    contract = Contract.model_validate(
        {"contract": "c-1", "customer": customer, "plan": "fleet", "validFrom": "2026-01-01"}
    )
    meter = Device(3, "meter-1", "hall", "default", True, (Binding("acme", EVER, None, 1),))
    return Knowledge(
        region=region,
        change=0,
        metrics={"messages": 1},
        contracts=ContractBook(region, {"c-1": (Version(1, IN_MARCH, contract),)}),
        backfills={},
        customers={"acme": 5},
        devices={"meter-1": meter},
    )


def message(
    partition: int,
    offset: int,
    sequence: int,
    *,
    at: datetime,
    age: timedelta = timedelta(0),
    amount: int = 1,
) -> Message:
    """An event that happened `age` before it was received at `at`, by its device's uptime."""
    told = {"device": "meter-1", "epoch": "1", "seq": sequence}
    items = [{"metric": "messages", "quantity": str(amount)}]
    uptimes = {"uptime": 0, "sentUptime": age // timedelta(milliseconds=1)}
    return record(partition, offset, json.dumps({**told, "items": items, **uptimes}).encode(), at)


def record(partition: int, offset: int, raw: bytes, at: datetime) -> Message:
    """What the consumer reads at that place."""
    headers = Headers("json", "mqtt", "t", to_micros(at), "uplink/json")
    return read(Record(partition, offset, 0, at, tuple(encode_headers(headers)), raw))


def start(partitions: int) -> Ledger:
    """Nothing decided, both months open."""
    offsets = tuple(PartitionOffset(p, TOPIC.topic_id, 0, 0, 0, None, Counters()) for p in range(partitions))
    rows = tuple(
        ContractPeriod(
            PERIOD_IDS[bounds.start], "c-1", "acme", f"eu-{bounds.start:%Y%m}", bounds.start, bounds.end,
            bounds.end + timedelta(hours=72), "Grace", "open", 1, None,
        )
        for bounds in (MARCH, APRIL)
    )  # fmt: skip
    return Ledger(offsets, rows, writers=("",) * partitions)


def consumer(log: Log, *, notices_a_dead_connection: bool = True, reads_again: bool = True) -> Program:
    """The loop around the product's Writer: read the offsets, take, write; on trouble begin anew.

    Without the two it keeps its place where the product reads the ledger's. One run is one connection: the
    Writer remembers what it has seen over it.
    """
    plan = cache(lambda batch: _plan(log, batch))
    known = knowledge()

    def program(io: Io, kept: tuple[int, ...] | None) -> tuple[int, ...] | None:
        at = kept
        try:
            at = at or tuple(stored.next_offset for stored in io.ask("read_offsets"))
            writer = Writer(io, TOPIC)  # pyright: ignore[reportArgumentType]
            while True:
                answer = io.ask("take", at)
                if answer[0] == "changed":
                    return None
                writer.write(plan(answer[1]), known)
                ends = {partition: end for partition, _, end in answer[1]}
                at = tuple(ends.get(partition, old) for partition, old in enumerate(at))
        except FencedError:
            return None
        except psycopg.OperationalError:
            idle = at is not None and all(n == len(m) for n, m in zip(at, log, strict=True))
            return at if not reads_again or (idle and not notices_a_dead_connection) else None

    return program


def _plan(log: Log, batch: tuple[tuple[int, int, int], ...]) -> Plan:
    messages = [message for partition, at, end in batch for message in log[partition][at:end]]
    return draw(messages, knowledge())


def replayer(io: Io, place: Any) -> Any:
    """Sets the first partition's offset back to its beginning, once, as a replay does."""
    if place == "done":
        io.ask("rest")
    try:
        io.ask("set_back", 0, 0)
    except psycopg.OperationalError:
        return "again"
    return "done"


def closer(*, waits: bool = True, locks: bool = True) -> Program:
    """The close of March: complete, locked, compared, invoiced and final in one transaction."""

    def program(io: Io, place: Any) -> Any:
        if place == "final":
            io.ask("rest")
        ends = io.ask("ends")
        try:
            stored = io.ask("read_offsets")
            progress = [PartitionProgress(o.partition, o.next_offset, ends[o.partition]) for o in stored]
            now = CUT_OFF + timedelta(hours=1)
            if waits and not sealable(MARCH.start, MARCH.end, CUT_OFF, now, progress).sealable:
                return "waiting"
            with io.transaction():
                if locks and io.ask("lock_for_seal", PERIOD_IDS[MARCH.start]).phase == "final":
                    return "final"
                keys, _, _ = io.ask("sums", PERIOD_IDS[MARCH.start])
                io.ask("invoice", PERIOD_IDS[MARCH.start], keys)
        except psycopg.OperationalError:
            return "waiting"
        return "final"

    return program
