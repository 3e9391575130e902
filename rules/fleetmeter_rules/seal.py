"""Seal: when a contract period is complete, and the digest that names the rows it was closed on."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from fleetmeter_rules.boundary import waits_for_review
from fleetmeter_rules.instant import rfc3339, to_micros
from fleetmeter_rules.number import plain


class WaitingFor(StrEnum):
    """What a period waits for; the values are those of `waitingFor` in the region's status."""

    NOTHING = ""
    CUT_OFF = "CutOffNotReached"
    USAGE = "UsagePending"
    BACKFILL = "BackfillPending"
    CONTRACTS = "ContractsMissing"
    REVIEW = "ReviewPending"
    COMPLETE_USAGE = "UsageIncomplete"
    OLDER = "OlderInReview"


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far one partition is consumed, in committed offsets.

    `required_offset`: the first offset with a log time at or after the cut-off or, where there is none, the
    end offset as read after the cut-off; None while neither is known.
    """

    partition: int
    next_offset: int
    required_offset: int | None


@dataclass(frozen=True, slots=True)
class BackfillHold:
    """An open or completed backfill of a range; `end_offsets` are the queue's ends at its completion."""

    range_from: datetime
    range_to: datetime
    completed: bool
    end_offsets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a period can be sealed; if not, what it waits for, as a code and a sentence."""

    waiting_for: WaitingFor
    message: str

    @property
    def sealable(self) -> bool:
        """Whether it waits for nothing."""
        return self.waiting_for is WaitingFor.NOTHING


def sealable(
    start: datetime,
    end: datetime,
    cut_off: datetime,
    database_now: datetime,
    partitions: Iterable[PartitionProgress],
    backfill: BackfillHold | None = None,
    contracts_loaded: bool = True,
) -> Readiness:
    """Whether nothing that belongs to the period can still come in.

    True once contracts are loaded, the database's clock has passed the cut-off, no backfill that touches
    the period is open or still being read, and every partition is consumed past the cut-off. The reasons
    come in this order.
    """
    if not contracts_loaded:
        return Readiness(
            WaitingFor.CONTRACTS, "no contract is loaded; check the Secrets that spec.contracts names"
        )
    if database_now < cut_off:
        return Readiness(WaitingFor.CUT_OFF, f"late usage counts until {rfc3339(cut_off)}")
    known = {p.partition: p for p in partitions}
    if backfill is not None and backfill.range_from < end and start < backfill.range_to:
        held = _backfill_pending(known, backfill)
        if held:
            return Readiness(WaitingFor.BACKFILL, held)
    if not known:
        return Readiness(WaitingFor.USAGE, "no partition of the queue has been read yet")
    behind = [p for p in known.values() if p.required_offset is None or p.next_offset < p.required_offset]
    if any(p.required_offset is None for p in behind):
        return Readiness(WaitingFor.USAGE, "how far the queue reached at the cut-off is not known yet")
    if behind:
        records = sum(p.required_offset - p.next_offset for p in behind if p.required_offset is not None)
        names = ", ".join(str(p.partition) for p in sorted(behind, key=lambda p: p.partition))
        return Readiness(
            WaitingFor.USAGE, f"{records} records received before the cut-off wait in partitions {names}"
        )
    return Readiness(WaitingFor.NOTHING, "")


@dataclass(frozen=True, slots=True)
class Doubts:
    """What a person may want to look at in a contract period, beside what its contract says about it.

    `candidates`, `decided`: events that may belong to a neighbouring period, and how many of them a person
    has decided; more than `threshold` undecided ones wait (None: never). `missing`, `silent`: numbers that
    devices counted and that are not held, and devices without any event; they wait where `hold_incomplete`,
    but not once a person has taken as many, as `taken_missing` and `taken_silent` say.
    """

    candidates: int = 0
    decided: int = 0
    threshold: int | None = None
    missing: int = 0
    silent: int = 0
    hold_incomplete: bool = False
    taken_missing: int = 0
    taken_silent: int = 0

    @property
    def for_review(self) -> bool:
        """Whether the period waits for someone to look at events that may belong to another one."""
        return waits_for_review(self.candidates, self.decided, self.threshold)

    @property
    def incomplete(self) -> bool:
        """Whether the period waits for missing usage, or for someone to take it as it is."""
        more = self.missing > self.taken_missing or self.silent > self.taken_silent
        return self.hold_incomplete and more


def awaits_a_person(doubts: Doubts, billing_period: str) -> Readiness:
    """Whether a contract period that is complete by the queue still waits for someone to look at it.

    Looked at after `sealable`, since before it the counts still change. The message names the command.
    """
    if doubts.incomplete:
        return Readiness(
            WaitingFor.COMPLETE_USAGE,
            f"{doubts.missing} messages are missing and {doubts.silent} devices are silent; run "
            f"fleetmeter completeness list --billing-period {billing_period}",
        )
    if doubts.for_review:
        left = doubts.candidates - doubts.decided
        return Readiness(
            WaitingFor.REVIEW,
            f"{left} events may belong to a neighbouring period; run "
            f"fleetmeter review list --billing-period {billing_period}",
        )
    return Readiness(WaitingFor.NOTHING, "")


def awaits_an_older(billing_period: str) -> Readiness:
    """What a contract period waits for while an earlier one of its contract awaits a person: the invoices of
    a contract come in order, and other contracts' do not wait for them."""
    return Readiness(WaitingFor.OLDER, f"{billing_period} of the same contract waits for a person first")


def _backfill_pending(known: dict[int, PartitionProgress], backfill: BackfillHold) -> str:
    span = f"{rfc3339(backfill.range_from)} to {rfc3339(backfill.range_to)}"
    if not backfill.completed:
        return f"the backfill of {span} is open; complete or revert it"
    left = sum(
        max(0, end - (known[partition].next_offset if partition in known else 0))
        for partition, end in backfill.end_offsets
    )
    return f"the backfill of {span} is complete, {left} of its records are still being read" if left else ""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A billed event as the digest sees it."""

    alias: str
    event_id: str
    metric: str
    quantity: Decimal
    event_at: datetime


class Digest:
    """The digest of a snapshot's rows, added one by one in the order of (alias, event id), both as UTF-8
    bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"snapshot1")
        self._last: tuple[bytes, bytes] | None = None
        self.events = 0

    def add(self, row: SealedRow) -> Self:
        """Raises ValueError for a row out of order or given twice."""
        key = (row.alias.encode(), row.event_id.encode())
        if self._last is not None and key <= self._last:
            raise ValueError(
                f"row {self.events + 1} of the snapshot is out of order or a repeat: {row.event_id}"
            )
        self._last = key
        texts = (row.metric, plain(row.quantity), str(to_micros(row.event_at)))
        for part in (*key, *(text.encode() for text in texts)):
            self._hash.update(len(part).to_bytes(4, "big"))
            self._hash.update(part)
        self.events += 1
        return self

    def text(self) -> str:
        """`sha256:` and the hash of what was added so far."""
        return "sha256:" + self._hash.hexdigest()


def digest(rows: Iterable[SealedRow]) -> str:
    """The digest of rows in any order. Raises ValueError if one is there twice."""
    out = Digest()
    for row in sorted(rows, key=lambda r: (r.alias.encode(), r.event_id.encode())):
        out.add(row)
    return out.text()
