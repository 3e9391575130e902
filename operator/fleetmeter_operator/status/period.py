"""The status of a BillingPeriod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fleetmeter_api.values import instant_text
from fleetmeter_operator.status.close import AWAITS_A_PERSON, Decision, PeriodFacts
from fleetmeter_operator.status.condition import Draft, settle
from fleetmeter_operator.status.observed import JobState

_COUNTS = (
    "events",
    "late",
    "quarantined",
    "duplicates",
    "invoices",
    "boundaryCandidates",
    "boundaryUndecided",
    "missing",
    "silentDevices",
    "contractPeriods",
    "finalContractPeriods",
)
# A period that waits for a person or for an older one is as it should be.
_CONTENT_TO_WAIT = AWAITS_A_PERSON | {
    "Suspended",
    "CloseNotRequested",
    "WaitingForOlder",
    "BackfillPending",
}


def period_status(
    facts: PeriodFacts, decision: Decision, old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status after a decision. Counts stay as they were while the region does not report."""
    status: dict[str, Any] = {name: old.get(name) for name in _COUNTS}
    if facts.report is not None:
        report = facts.report
        status |= {
            "events": report.events,
            "late": report.late,
            "quarantined": report.quarantined,
            "duplicates": report.duplicates,
            "invoices": report.invoices,
            "boundaryCandidates": report.boundary_candidates,
            "boundaryUndecided": report.boundary_undecided,
            "missing": report.missing,
            "silentDevices": report.silent_devices,
            "contractPeriods": report.contract_periods,
            "finalContractPeriods": report.final,
        }
    latest = facts.latest
    number = max(old.get("attempts") or 0, latest.number if latest else 0)
    waiting = decision.phase == "Waiting"
    return {
        **status,
        "observedGeneration": generation,
        "phase": decision.phase,
        "finalAt": _final_at(facts, decision, old, now),
        "attempts": number,
        "jobName": f"{facts.name}-close-{number}" if number else None,
        "waitingFor": decision.reason if waiting else None,
        "conditions": settle(_drafts(decision), old.get("conditions", []), generation, now),
    }


def misfit_status(
    reason: str, message: str, old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status of a period that no region's calendar has, or whose spec is wrong: it is left alone."""
    drafts: Sequence[Draft] = [
        Draft("Ready", False, reason, message),
        Draft("Reconciling", False, reason, message),
        Draft("Stalled", True, reason, message),
    ]
    kept = {name: value for name, value in old.items() if name not in ("observedGeneration", "conditions")}
    return {
        **kept,
        "observedGeneration": generation,
        "conditions": settle(drafts, old.get("conditions", []), generation, now),
    }


def _drafts(decision: Decision) -> list[Draft]:
    reason, message = decision.reason, decision.message
    failed = decision.phase == "Failed"
    busy = decision.phase == "Closing" or (decision.phase == "Waiting" and reason not in _CONTENT_TO_WAIT)
    return [
        Draft("Ready", not failed and not busy, reason, message),
        Draft("Reconciling", busy, reason, message),
        Draft("Stalled", failed, reason, message if failed else ""),
        Draft("Succeeded", decision.phase == "Final", reason, message if decision.phase == "Final" else ""),
    ]


def _final_at(facts: PeriodFacts, decision: Decision, old: Mapping[str, Any], now: datetime) -> str | None:
    """When the period became final: its Job's end, or when that was first seen."""
    if decision.phase != "Final":
        return None
    if old.get("finalAt"):
        return str(old["finalAt"])
    latest = facts.latest
    ended = latest.ended_at if latest and latest.state is JobState.SUCCEEDED else None
    return instant_text((ended or now).replace(microsecond=0))
