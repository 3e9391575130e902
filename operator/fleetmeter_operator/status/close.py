"""What to do about a period now: its phase, whether to start a close, and when to look again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from fleetmeter_api.period import BillingPeriodSpec, PeriodPhase
from fleetmeter_operator.build.close_job import DATA_ERROR, NOT_YET
from fleetmeter_operator.status.observed import JobState
from fleetmeter_operator.status.report import PeriodReport

_POLL = timedelta(seconds=5)
_SOON = timedelta(seconds=2)
_FIRST_RETRY = timedelta(seconds=10)
_FIRST_CRASH_RETRY = timedelta(seconds=60)
_MOST_NOT_YET = timedelta(minutes=10)
_MOST_RETRY = timedelta(hours=1)
# A report may be a moment older than the Job that it should tell of.
_LEDGER_CATCHES_UP = timedelta(seconds=30)

AWAITS_A_PERSON = frozenset({"ReviewPending", "UsageIncomplete", "OlderInReview"})
"""What all that is left of a period may wait for, by its report; the message names the command."""

Outcome = Literal["done", "waiting", "failed"]


@dataclass(frozen=True)
class Attempt:
    """One close Job: its number, where it is, and how it ended."""

    number: int
    state: JobState
    inputs: str
    exit_code: int | None = None
    ended_at: datetime | None = None
    last_words: str = ""


@dataclass(frozen=True)
class PeriodFacts:
    """What was observed of a period.

    `older` is the oldest period before it that is not final; `suspended` says that the region pauses closes,
    `requested` that a person asked for a Manual close; `inputs` hashes what the next attempt would run with;
    `plans_published` says that each PricingPlan's present spec has been looked at.
    """

    name: str
    spec: BillingPeriodSpec
    report: PeriodReport | None
    answered: bool
    attempts: Sequence[Attempt]
    was_final: bool
    older: str | None
    suspended: bool
    requested: bool
    inputs: str
    plans_published: bool

    @property
    def cut_off(self) -> datetime:
        """Until when late usage counts for the period."""
        return self.spec.cut_off or self.spec.end

    @property
    def latest(self) -> Attempt | None:
        """The newest attempt whose Job still exists."""
        return max(self.attempts, key=lambda attempt: attempt.number, default=None)


@dataclass(frozen=True)
class Decision:
    """The phase and why; whether an attempt starts now; when to look again (None: after a change)."""

    phase: PeriodPhase
    reason: str
    message: str
    start: bool = False
    look_again: datetime | None = None

    @property
    def holds_later_ones(self) -> bool:
        """Whether later periods wait for this one: not where it waits for a person to look at some
        contracts, since the others' later periods have nothing to do with that."""
        return self.phase != "Final" and self.reason not in AWAITS_A_PERSON


def decide(facts: PeriodFacts, now: datetime) -> Decision:
    """The one next step of a period. The ledger is the truth about Final; a Job is only a hint.

    A Job that still runs is awaited even where the ledger is final: closes run one at a time.
    """
    latest, final = facts.latest, _final(facts)
    running = latest is not None and latest.state is JobState.RUNNING
    if final and (facts.was_final or not running):
        return final
    if final is None and (early := _before_cut_off(facts, now)):
        return early
    if latest is not None and running:
        return Decision("Closing", "CloseRunning", f"attempt {latest.number} runs", look_again=now + _SOON)
    if (
        latest is not None
        and latest.state is JobState.SUCCEEDED
        and now < _ended(latest, now) + _LEDGER_CATCHES_UP
    ):
        message = f"attempt {latest.number} succeeded; the region API has not said so yet"
        return Decision("Closing", "CloseRecorded", message, look_again=now + _POLL)
    if held := _held(facts, now):
        return held
    if (
        latest is not None
        and latest.state is JobState.FAILED
        and (failed := _after_failure(facts, latest, now))
    ):
        return failed
    return _by_report(facts, now)


def _final(facts: PeriodFacts) -> Decision | None:
    report = facts.report
    if report is None:
        if facts.was_final:
            return Decision("Final", "Final", "all contract periods are final")
        return None
    if report.contract_periods > 0 and report.final == report.contract_periods:
        return Decision("Final", "Final", f"{report.invoices} invoices over {report.events} events")
    closed = facts.latest is not None and facts.latest.state is JobState.SUCCEEDED
    if report.contract_periods == 0 and (closed or facts.was_final):
        return Decision("Final", "NothingToInvoice", "no contract was in force; no invoice was made")
    return None


def _before_cut_off(facts: PeriodFacts, now: datetime) -> Decision | None:
    spec = facts.spec
    if now < spec.start:
        return Decision("Pending", "NotStarted", f"starts at {spec.start.isoformat()}", look_again=spec.start)
    if now < spec.end:
        return Decision(
            "Open", "TakesUsage", f"takes usage until {spec.end.isoformat()}", look_again=spec.end
        )
    if now < facts.cut_off:
        message = f"late usage counts until {facts.cut_off.isoformat()}"
        return Decision("Grace", "TakesLateUsage", message, look_again=facts.cut_off)
    return None


def _held(facts: PeriodFacts, now: datetime) -> Decision | None:
    """What keeps a period from closing whatever the ledger says."""
    if facts.older is not None:
        message = f"{facts.older} closes first: periods close oldest first, one at a time"
        return Decision("Waiting", "WaitingForOlder", message)
    if facts.suspended or facts.spec.suspend:
        what = "the region's" if facts.suspended else "its"
        return Decision("Waiting", "Suspended", f"{what} spec.suspend is true; set it to false to close")
    if facts.spec.close == "Manual" and not facts.requested:
        message = "spec.close is Manual; set it to Auto, or set the annotation fleetmeter.io/close-requested"
        return Decision("Waiting", "CloseNotRequested", message)
    if not facts.answered:
        message = "the region API does not answer; see the region's WorkersReady condition"
        return Decision("Waiting", "StatusUnavailable", message, look_again=now + _POLL)
    return None


def _after_failure(facts: PeriodFacts, latest: Attempt, now: datetime) -> Decision | None:
    """Whether the last failure still stands; None once another attempt is worth it."""
    if latest.inputs != facts.inputs and latest.exit_code != NOT_YET:
        return None
    due = _ended(latest, now) + _pause(latest)
    if now >= due:
        return None
    log = f"kubectl logs job/{facts.name}-close-{latest.number}"
    words = f": {latest.last_words}" if latest.last_words else ""
    if latest.exit_code == NOT_YET and facts.report is not None and not facts.report.sealable:
        # The ledger says by itself what is waited for.
        return None
    if latest.exit_code == NOT_YET:
        return Decision("Waiting", "NotYetSealable", f"the close found it too early{words}", look_again=due)
    if latest.exit_code == DATA_ERROR:
        message = f"the data cannot be invoiced{words}. See {log}; correct the plan, contract or region"
        return Decision("Failed", "DataError", message, look_again=due)
    message = f"attempt {latest.number} crashed{words}. See {log}; it is tried again at {due.isoformat()}"
    return Decision("Failed", "CloseCrashed", message, look_again=due)


def _ended(latest: Attempt, now: datetime) -> datetime:
    return latest.ended_at or now


def _pause(latest: Attempt) -> timedelta:
    """How long to wait after a failure: longer with each attempt, with a cap."""
    doubled = 2 ** min(latest.number - 1, 10)
    if latest.exit_code == NOT_YET:
        return min(_FIRST_RETRY * doubled, _MOST_NOT_YET)
    if latest.exit_code == DATA_ERROR:
        return _MOST_RETRY
    return min(_FIRST_CRASH_RETRY * doubled, _MOST_RETRY)


def _by_report(facts: PeriodFacts, now: datetime) -> Decision:
    report = facts.report
    if report is None:
        message = "the region API does not know the period yet"
        return Decision("Waiting", "NotReported", message, look_again=now + _POLL)
    if not report.sealable:
        reason = report.waiting_for or "NotSealable"
        return Decision("Waiting", reason, report.message or f"waits for {reason}", look_again=now + _POLL)
    if not facts.plans_published:
        message = "a pricing plan has just changed and is not published yet"
        return Decision("Waiting", "PlansPublishing", message, look_again=now + _SOON)
    return Decision("Closing", "CloseStarted", "a close Job starts", start=True, look_again=now + _SOON)
