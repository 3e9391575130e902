"""Scenarios for the product's own commit: what is in the topic, what may go wrong, what must hold."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from fleetmeter_rules.conservation import Counters, violations
from fleetmeter_workers.ledger.events import BILLED

from .memory_ledger import Ledger
from .model import Faults, Scenario
from .ours import (
    CUT_OFF,
    IN_GRACE,
    IN_MARCH,
    MARCH,
    PERIOD_IDS,
    Log,
    closer,
    consumer,
    message,
    record,
    replayer,
    start,
)
from .replay import Program

_HOUR: Final = timedelta(hours=1)
MIXED: Final[Log] = (
    (
        message(0, 0, 1, at=IN_MARCH),
        message(0, 1, 2, at=IN_MARCH),
        message(0, 2, 1, at=IN_MARCH + _HOUR, age=_HOUR),
        message(0, 3, 3, at=IN_MARCH),
        record(0, 4, b"poison", IN_MARCH),
        message(0, 5, 1, at=IN_MARCH, amount=2),
    ),
)
"""Three events, a copy received an hour later, poison, and another message under a known identity."""

SHARED: Final[Log] = (
    (message(0, 0, 1, at=IN_MARCH), message(0, 1, 2, at=IN_MARCH)),
    (message(1, 0, 2, at=IN_MARCH), message(1, 1, 1, at=IN_MARCH), message(1, 2, 3, at=IN_MARCH)),
)
"""Two partitions with copies of the same events in another order, as after a change of a device's key."""

CLOSING: Final[Log] = (
    (
        message(0, 0, 1, at=IN_MARCH),
        message(0, 1, 2, at=IN_GRACE, age=2 * _HOUR),
        message(0, 2, 3, at=MARCH.end),
        message(0, 3, 4, at=CUT_OFF, age=90 * _HOUR),
        message(0, 4, 1, at=CUT_OFF + _HOUR, age=CUT_OFF + _HOUR - IN_MARCH),
        message(0, 5, 5, at=IN_GRACE, age=3 * _HOUR),
    ),
)
"""March, March within its grace, April's first instant, March at the cut-off, a copy after the cut-off, and
one from March that the broker's clock, set back, puts before the cut-off."""


def laws(ledger: Ledger) -> list[str]:
    """What holds in every committed ledger."""
    found: list[str] = []
    total = sum((stored.counters for stored in ledger.offsets), Counters())
    for stored in ledger.offsets:
        found += [f"conservation: partition {stored.partition}, {law}" for law in violations(stored.counters)]
        if stored.counters.records != stored.counted_offset:
            found.append(f"conservation: partition {stored.partition} counts other records than it decided")
    billed = sum(event.verdict == BILLED for event in ledger.events)
    counted = sum(number for (_, name), number in ledger.counts.items if name == "events")
    if not billed == total.billed == ledger.hours.total() == counted:
        found.append("sums: rows, counters, hours and period counts differ")
    if len(ledger.quarantine) != total.quarantined + total.undecodable:
        found.append("sums: the quarantine holds other rows than were counted")
    if ledger.duplicates.total() != total.duplicate:
        found.append("sums: the duplicates by hour differ from those counted")
    sealed = [period_id for period_id, _ in ledger.invoices]
    if len(sealed) != len(set(sealed)):
        found.append("invoice: a period has two")
    for period_id, keys in ledger.invoices:
        if keys != {e.key for e in ledger.events if e.period_id == period_id and e.verdict == BILLED}:
            found.append("invoice: the period's billed rows are not those invoiced")
    return found


def _counted(ledger: Ledger, log: Log) -> tuple[int, ...]:
    total = sum((stored.counters for stored in ledger.offsets), Counters())
    decided = sum(stored.next_offset for stored in ledger.offsets)
    left = sum(len(messages) for messages in log) - decided
    return left, total.billed, total.duplicate, total.quarantined, total.undecodable


def _reasons(ledger: Ledger) -> dict[int, str]:
    return {offset: reason for _, offset, _, reason in ledger.quarantine}


def _months(ledger: Ledger) -> dict[int, int]:
    return {_sequence(e.key): e.period_id or 0 for e in ledger.events if e.verdict == BILLED}


def _sequence(key: bytes) -> int:
    return int.from_bytes(key[8:14], "big")


def mixed_is_whole(ledger: Ledger) -> list[str]:
    """Each of the six records has the fate that the order of the log gives it."""
    found: list[str] = []
    if _counted(ledger, MIXED) != (0, 3, 1, 1, 1):
        found.append(f"lost: left, billed, duplicate, quarantined, undecodable are {_counted(ledger, MIXED)}")
    if _reasons(ledger) != {4: "unparseable", 5: "id_conflict"}:
        found.append(f"classified: set aside are {_reasons(ledger)}")
    if _months(ledger) != dict.fromkeys((1, 2, 3), PERIOD_IDS[MARCH.start]):
        found.append(f"month: billed are {_months(ledger)}")
    return found


def shared_is_whole(ledger: Ledger) -> list[str]:
    """Each event is billed once, whichever partition came first."""
    if _counted(ledger, SHARED) != (0, 3, 2, 0, 0):
        return [f"lost: left, billed, duplicate, quarantined, undecodable are {_counted(ledger, SHARED)}"]
    return []


def closing_is_whole(ledger: Ledger) -> list[str]:
    """March has its two, and the one of the clock that went back unless it came after the seal."""
    march, april = PERIOD_IDS[MARCH.start], PERIOD_IDS[MARCH.start] + 1
    reasons, months = _reasons(ledger), _months(ledger)
    stepped = {5: march} if 5 not in reasons else {}
    found: list[str] = []
    if months != {1: march, 2: march, 3: april} | stepped:
        found.append(f"month: billed are {months}, set aside {reasons}")
    if reasons != {3: "late_after_final"} | ({} if stepped else {5: "late_after_final"}):
        found.append(f"classified: set aside are {reasons}")
    if _counted(ledger, CLOSING) != (0, 3 + len(stepped), 1, 2 - len(stepped), 0):
        found.append(
            f"lost: left, billed, duplicate, quarantined, undecodable are {_counted(ledger, CLOSING)}"
        )
    if [period_id for period_id, _ in ledger.invoices] != [march]:
        found.append("invoice: March has none")
    return found


def mixed(faults: Faults, program: Program | None = None, consumers: int = 2) -> Scenario:
    """Consumers of one partition; all believe that it is theirs, as zombies do."""
    return Scenario(
        programs=(program or consumer(MIXED),) * consumers,
        ends=(len(MIXED[0]),),
        start=start(1),
        faults=faults,
        always=laws,
        finally_=mixed_is_whole,
        owns=lambda _actor, _partition, _owner: True,
    )


def replayed(faults: Faults) -> Scenario:
    """Two consumers of one partition, and somebody who sets its offset back at any moment."""
    scenario = mixed(faults)
    programs, owns = (*scenario.programs, replayer), lambda actor, _partition, _owner: actor < 2
    return replace(scenario, programs=programs, owns=owns, replays=True)


def shared(faults: Faults) -> Scenario:
    """Two consumers with a partition each, and the same events in both."""
    return Scenario(
        programs=(consumer(SHARED),) * 2,
        ends=tuple(len(messages) for messages in SHARED),
        start=start(2),
        faults=faults,
        always=laws,
        finally_=shared_is_whole,
        owns=lambda actor, partition, owner: partition == (actor + owner) % 2,
    )


def closing(faults: Faults, close: Program | None = None, consumers: int = 1, log: Log = CLOSING) -> Scenario:
    """Consumers and the close of March, after its cut-off. Failovers are not for a seal: its commit is
    synchronous."""
    return Scenario(
        programs=(*(consumer(log),) * consumers, close or closer()),
        ends=(len(log[0]),),
        start=start(1),
        faults=faults,
        always=laws,
        finally_=closing_is_whole,
        owns=lambda actor, _partition, _owner: actor < consumers,
        batch=3,
        closes=True,
        required=required(log),
    )


def required(log: Log) -> tuple[int, ...]:
    """The first offset of each partition that was received at or after the cut-off, as Kafka tells."""
    return tuple(
        next((m.record.offset for m in messages if m.record.log_time >= CUT_OFF), len(messages))
        for messages in log
    )
