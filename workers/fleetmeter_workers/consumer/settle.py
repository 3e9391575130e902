"""The two pure steps around the merge: what a candidate would become, and what it is among copies."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from fleetmeter_rules.lateness import LATE_AFTER_FINAL, Action, Decision, amendment, decide
from fleetmeter_workers.consumer.plan import Candidate
from fleetmeter_workers.ledger.contract_book import Match
from fleetmeter_workers.ledger.events import BILLED, SET_ASIDE, EventRow, KnownEvent
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.quarantine import WRITTEN_OFF

Periods = Mapping[tuple[str, datetime], ContractPeriod]
"""The rows of the contract periods that a batch touches, with the phases that hold until its commit."""


class Fate(StrEnum):
    """What became of an item."""

    BILLED = "billed"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a candidate becomes if no copy of it is known: its period, and a reason if it is set aside.

    `revision`: 1 in its own period; 0 where it is deferred here from the period `belongs_to`; more where its
    own period is amended, at `due_at`. `resolution`: what the contract decides about what is set aside.
    """

    candidate: Candidate
    period_id: int | None
    late: bool
    reason: str | None
    detail: str
    revision: int = 1
    belongs_to: int | None = None
    due_at: datetime | None = None
    resolution: str | None = None

    @property
    def row(self) -> EventRow:
        """The event's row."""
        c = self.candidate
        return EventRow(
            key=c.key,
            event_at=c.event_at,
            received_at=c.received_at,
            fingerprint=c.fingerprint,
            device_id=c.device_id,
            period_id=self.period_id,
            uncertainty=c.uncertainty,
            metric_id=c.metric_id,
            verdict=BILLED if self.reason is None else SET_ASIDE,
            time_method=c.time_method,
            revision=self.revision,
            late=self.late,
            quantity=c.quantity,
            canonical=c.canonical or b"",
            evidence=c.evidence,
        )


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A verdict and what it came to. `period_id` and `customer_id` are the first copy's for a duplicate."""

    verdict: Verdict
    fate: Fate
    period_id: int | None
    customer_id: int | None
    reason: str | None = None
    detail: str = ""
    first_fingerprint: bytes | None = None


def judge(candidate: Candidate, periods: Periods) -> Verdict:
    """What the candidate becomes if it is new, by T, R, its contract and the phase of its period."""
    match = candidate.match
    if match is None:
        return Verdict(candidate, None, False, candidate.reason, candidate.detail)
    period = periods[match.period.key]
    late = candidate.received_at >= match.period.bounds.end
    if candidate.reason is not None:
        return Verdict(candidate, period.period_id, late, candidate.reason, candidate.detail)
    decision = decide(
        candidate.received_at,
        match.period.bounds,
        period.cutoff_at,
        match.terms.late_usage,
        sealed=period.phase != "open",
    )
    if decision.action is Action.OWN_PERIOD:
        return Verdict(candidate, period.period_id, decision.late, None, "")
    if decision.action is Action.REOPEN:
        return _reopened(candidate, match, period)
    if decision.action is Action.DEFER:
        target = _open_target(candidate.at_receipt, periods)
        if target is not None:
            return Verdict(candidate, target, True, None, "", 0, belongs_to=period.period_id)
    return _set_aside(candidate, match, period, decision)


def compare(
    verdicts: Sequence[Verdict],
    added: set[bytes],
    known: Mapping[bytes, KnownEvent],
    customers: Mapping[str, int],
) -> list[Settled]:
    """What became of each verdict, in order, once the merge has said which identities were new.

    The first of a batch's own copies is the one that was merged.
    """
    fresh: dict[bytes, Verdict] = {}
    settled: list[Settled] = []
    for verdict in verdicts:
        candidate = verdict.candidate
        customer_id = None if candidate.customer is None else customers.get(candidate.customer)
        if candidate.key in added and candidate.key not in fresh:
            fresh[candidate.key] = verdict
            fate = Fate.BILLED if verdict.reason is None else Fate.QUARANTINED
            settled.append(
                Settled(verdict, fate, verdict.period_id, customer_id, verdict.reason, verdict.detail)
            )
            continue
        first = _first(candidate.key, fresh, known, customer_id)
        if first.fingerprint == candidate.fingerprint:
            settled.append(
                Settled(verdict, Fate.DUPLICATE, first.period_id, first.customer_id or customer_id)
            )
            continue
        detail = "another message has the same identity and other content; it stays as decided"
        settled.append(
            Settled(
                verdict,
                Fate.QUARANTINED,
                verdict.period_id,
                customer_id,
                "id_conflict",
                detail,
                first.fingerprint,
            )
        )
    return settled


def firsts(verdicts: Sequence[Verdict]) -> list[EventRow]:
    """The rows to merge: of the batch's own copies the first."""
    rows: dict[bytes, Verdict] = {}
    for verdict in verdicts:
        rows.setdefault(verdict.candidate.key, verdict)
    return [verdict.row for verdict in rows.values()]


def _first(
    key: bytes, fresh: Mapping[bytes, Verdict], known: Mapping[bytes, KnownEvent], customer_id: int | None
) -> KnownEvent:
    if key in fresh:
        verdict = fresh[key]
        return KnownEvent(verdict.candidate.fingerprint, verdict.period_id, customer_id)
    return known[key]


def _set_aside(candidate: Candidate, match: Match, period: ContractPeriod, decision: Decision) -> Verdict:
    """Late after the final invoice. Only what the contract's policy itself sets aside may it write off, not
    what a clock that went back made late."""
    by_policy = decision.action is Action.QUARANTINE and not decision.clock_stepped
    written_off = by_policy and match.terms.writes_off
    return Verdict(
        candidate,
        period.period_id,
        True,
        LATE_AFTER_FINAL,
        _late_detail(decision.clock_stepped),
        resolution=WRITTEN_OFF if written_off else None,
    )


def _reopened(candidate: Candidate, match: Match, period: ContractPeriod) -> Verdict:
    """Billed in its own period, by the amendment that comes with the invoice of the period that holds R."""
    terms = match.terms
    found = amendment(
        match.period.bounds, candidate.received_at, terms.calendar, terms.grace, period.revision
    )
    return Verdict(candidate, period.period_id, True, None, "", revision=found.revision, due_at=found.due_at)


def _open_target(match: Match | None, periods: Periods) -> int | None:
    """The period that holds R, if usage can still be added to it."""
    if match is None:
        return None
    period = periods[match.period.key]
    return period.period_id if period.phase == "open" else None


def _late_detail(clock_stepped: bool) -> str:
    if clock_stepped:
        return "received in time by the broker's clock, yet after its period was sealed: that clock went back"
    return "received at or after the cut-off of its period"
