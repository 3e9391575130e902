"""The two pure steps around the merge: what a candidate would become, and what it is among copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from fleetmeter_rules.lateness import Action, decide
from fleetmeter_workers.consumer.plan import Candidate
from fleetmeter_workers.ledger.contract_book import Match
from fleetmeter_workers.ledger.events import BILLED, SET_ASIDE, EventRow, KnownEvent
from fleetmeter_workers.ledger.periods import ContractPeriod

Periods = Mapping[tuple[str, datetime], ContractPeriod]
"""The rows of the contract periods that a batch touches, with the phases that hold until its commit."""


class Fate(Enum):
    """What became of an item."""

    BILLED = "billed"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a candidate becomes if no copy of it is known: its period, and a reason if it is set aside."""

    candidate: Candidate
    period_id: int | None
    late: bool
    reason: str | None
    detail: str

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
            revision=1,
            late=self.late,
            quantity=c.quantity,
            canonical=c.canonical or b"",
        )


@dataclass(frozen=True, slots=True)
class Settled:
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
    if decision.action is Action.OWN_PERIOD or (decision.action is Action.REOPEN and period.phase == "open"):
        return Verdict(candidate, period.period_id, decision.late, None, "")
    if decision.action is Action.DEFER:
        target = _open_target(candidate.at_receipt, periods)
        if target is not None:
            return Verdict(candidate, target, True, None, "")
    return Verdict(
        candidate, period.period_id, True, "late_after_final", _late_detail(decision.clock_stepped)
    )


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
