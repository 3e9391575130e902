"""Flaws put into the product's steps one at a time, each with the scenario whose laws it must break."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import msgspec

from fleetmeter_rules.calendar import Bounds
from fleetmeter_workers.consumer import settle, write
from fleetmeter_workers.consumer.settle import Fate
from fleetmeter_workers.ledger import events, offsets, periods

from . import ours
from .model import Faults, Scenario
from .ours import CUT_OFF, closer, consumer
from .scenarios import MIXED, closing, mixed, shared


@dataclass(frozen=True)
class Flaw:
    """A mistake that somebody could make, where it shows, and the kind of law that it breaks there."""

    name: str
    breaks: str
    scenario: Callable[[], Scenario]
    plant: Callable[[], Any]


def changed(value: Any, **changes: Any) -> Any:
    """The value with some fields changed, whichever kind of record it is."""
    return (
        msgspec.structs.replace(value, **changes)
        if isinstance(value, msgspec.Struct)
        else replace(value, **changes)
    )


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _wrapped(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: patch.object(owner, name, wrap(getattr(owner, name)))


def _unlocked(hold: Any) -> Any:
    del hold
    return lambda io, ids: dict(io.ask("phases", tuple(sorted(set(ids)))))


def _late_first(compare: Any) -> Any:
    def flawed(*given: Any) -> Any:
        return [
            changed(one, fate=Fate.QUARANTINED, reason="late_after_final")
            if one.fate is Fate.DUPLICATE and one.verdict.reason == "late_after_final"
            else one
            for one in compare(*given)
        ]

    return flawed


def _by_the_clock(decide: Any) -> Any:
    now = CUT_OFF + timedelta(hours=1)
    return lambda received_at, *more, **named: decide(max(received_at, now), *more, **named)


def _through_the_cut_off(decide: Any) -> Any:
    return lambda received_at, own, cut_off, *more, **named: decide(
        received_at, own, cut_off + timedelta(microseconds=1), *more, **named
    )


def _with_reception(draw: Any) -> Any:
    def flawed(messages: Any, known: Any) -> Any:
        plan = draw(messages, known)
        candidates = [
            changed(c, fingerprint=hashlib.sha256(c.fingerprint + str(c.received_at).encode()).digest()[:16])
            for c in plan.candidates
        ]
        return changed(plan, candidates=candidates)

    return flawed


def anywhere(io: Any, _topic: str, partition: int, offset: int) -> Any:
    """`lock_at` that does not compare the row with where the batch begins."""
    return changed(io.ask("read_offsets")[partition], next_offset=offset)


@contextmanager
def _blindly() -> Iterator[None]:
    """The offset is written without a look at where it stands."""

    def advance(io: Any, _topic: str, start: Any, end: int, _epoch: int, _at: Any, new: Any) -> bool:
        io.ask("move", start.partition, end, new)
        return True

    with patch.object(offsets, "lock_at", anywhere), patch.object(offsets, "advance", advance):
        yield


def _keyless(merge: Any) -> Any:
    """Every row is taken for new."""
    return lambda io, rows: merge(io, rows) | {row.key for row in rows}


def _both_edges(_self: Bounds) -> Any:
    return lambda self, instant: self.start <= instant <= self.end


def _uncounted(count: Any) -> Any:
    """The sums of a batch that holds a duplicate are forgotten."""

    def flawed(*given: Any) -> Any:
        tally = count(*given)
        if tally.duplicates:
            tally.hours.clear()
        return tally

    return flawed


_CRASH = Faults(crashes=1)
FLAWS: tuple[Flaw, ...] = (
    Flaw(
        "the period is not held against the seal",
        "invoice",
        lambda: closing(Faults()),
        _wrapped(periods, "hold", _unlocked),
    ),
    Flaw(
        "the close does not lock the period",
        "invoice",
        lambda: closing(Faults(), closer(locks=False)),
        _as_it_is,
    ),
    Flaw(
        "the close does not wait for the offsets",
        "month",
        lambda: closing(Faults(), closer(waits=False)),
        _as_it_is,
    ),
    Flaw(
        "lateness before duplicates",
        "classified",
        lambda: closing(Faults()),
        _wrapped(write, "compare", _late_first),
    ),
    Flaw(
        "grace by the clock on the wall",
        "month",
        lambda: closing(Faults()),
        _wrapped(settle, "decide", _by_the_clock),
    ),
    Flaw(
        "the cut-off belongs to the period",
        "month",
        lambda: closing(Faults()),
        _wrapped(settle, "decide", _through_the_cut_off),
    ),
    Flaw(
        "a month holds both of its edges",
        "month",
        lambda: closing(Faults()),
        _wrapped(Bounds, "__contains__", _both_edges),
    ),
    Flaw(
        "a fingerprint of the reception",
        "classified",
        lambda: mixed(Faults()),
        _wrapped(ours, "draw", _with_reception),
    ),
    Flaw("no compare-and-set on the offset", "conservation", lambda: mixed(Faults()), _blindly),
    Flaw(
        "every identity is taken for new",
        "sums",
        lambda: shared(Faults()),
        _wrapped(events, "merge", _keyless),
    ),
    Flaw(
        "sums of a batch with copies are forgotten",
        "sums",
        lambda: mixed(Faults()),
        _wrapped(write, "count", _uncounted),
    ),
    Flaw(
        "a new connection goes on where the old one was",
        "lost",
        lambda: mixed(Faults(failovers=1), consumer(MIXED, reads_again=False)),
        _as_it_is,
    ),
    Flaw(
        "an idle consumer does not look at its connection",
        "lost",
        lambda: mixed(Faults(failovers=1), consumer(MIXED, notices_a_dead_connection=False)),
        _as_it_is,
    ),
)
