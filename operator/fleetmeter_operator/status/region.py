"""The status of a BillingRegion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fleetmeter_operator.build.site import Site
from fleetmeter_operator.status.condition import Draft, settle
from fleetmeter_operator.status.observed import JobState, Workload
from fleetmeter_operator.status.report import RegionReport


@dataclass(frozen=True)
class PeriodCounts:
    """How many periods exist, how many are final, and the oldest that is not."""

    made: int = 0
    final: int = 0
    next: str | None = None


@dataclass(frozen=True)
class RegionFacts:
    """What was observed of a region: `workloads` by component, `refusals` of writes by the API server.

    `volumes` tells which volumes are not as the spec asks.
    """

    workloads: Mapping[str, Workload]
    migration: JobState
    report: RegionReport | None
    missing_secrets: Sequence[str] = ()
    refusals: Sequence[str] = ()
    volumes: Sequence[str] = ()
    periods: PeriodCounts = field(default_factory=PeriodCounts)


def stalled_status(
    reason: str, message: str, old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status of a region that the operator cannot serve until someone changes it."""
    drafts = [
        Draft("Ready", False, reason, message),
        Draft("Reconciling", False, reason, message),
        Draft("Stalled", True, reason, message),
    ]
    return {
        "observedGeneration": generation,
        "phase": "Stalled",
        "conditions": settle(drafts, old.get("conditions", []), generation, now),
    }


def deleting_status(
    waiting: Sequence[str], old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status of a region that goes with its data; `waiting` names what is still there."""
    message = f"deletionPolicy is Delete: waits until these are gone: {', '.join(sorted(waiting))}"
    drafts = [
        Draft("Ready", False, "Deleting", message),
        Draft("Reconciling", True, "Deleting", message),
        Draft("Stalled", False, "Deleting", ""),
    ]
    return {
        "observedGeneration": generation,
        "phase": "Deleting",
        "conditions": settle(drafts, old.get("conditions", []), generation, now),
    }


def region_status(
    site: Site, facts: RegionFacts, old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status of a region that is served."""
    parts = _part_drafts(site, facts)
    summary = _summary(site, facts, parts)
    report = facts.report
    drafts = [*parts, *_report_drafts(report), *summary]
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "phase": _phase(site, summary),
        "conditions": settle(drafts, old.get("conditions", []), generation, now),
        "backfillId": site.spec.backfill.backfill_id if site.spec.backfill else None,
        "periods": facts.periods.made,
        "finalPeriods": facts.periods.final,
        "nextPeriod": facts.periods.next,
    }
    if report is None:
        kept = ("lag", "quarantined", "contracts", "contractsRefused", "contractPeriods", "plans")
        return {**status, **{name: old.get(name) for name in kept}}
    return {
        **status,
        "lag": old.get("lag") if report.consumer.lag is None else coarse(report.consumer.lag),
        "quarantined": sum(report.quarantined.values()),
        "contracts": report.contracts.loaded,
        "contractsRefused": len(report.contracts.refused),
        "contractPeriods": sum(period.contract_periods for period in report.periods.values()),
        "plans": len(report.plans_in_use),
    }


def coarse(count: int) -> int:
    """The count to two digits: a lag that moves a little is no reason to write the status again."""
    step = 10 ** max(0, len(str(count)) - 2)
    return count // step * step


def _part_drafts(site: Site, facts: RegionFacts) -> list[Draft]:
    parts = [
        _workload_draft("BrokerReady", [("kafka", facts.workloads["kafka"])]),
        _store_draft(facts),
        _workload_draft(
            "WorkersReady", [(name, facts.workloads[name]) for name in ("gateway", "consumer", "api")]
        ),
    ]
    if site.has_mosquitto:
        parts.append(_workload_draft("MqttReady", [("mosquitto", facts.workloads["mosquitto"])]))
    if facts.missing_secrets:
        names = ", ".join(facts.missing_secrets)
        remedy = (
            f"Secret {names} is missing while its volume exists. Restore it from a backup:"
            " a new password would not open the old data, so none is made"
        )
        parts.append(Draft("CredentialsMissing", True, "SecretNotFound", remedy))
    else:
        parts.append(Draft("CredentialsMissing", False, "SecretsFound", "every pod found its Secrets"))
    if facts.volumes:
        parts.append(Draft("VolumesAsSpecified", False, "VolumeCannotFollow", "; ".join(facts.volumes)))
    else:
        parts.append(Draft("VolumesAsSpecified", True, "SizesEqual", ""))
    return parts


def _workload_draft(kind: str, workloads: Sequence[tuple[str, Workload]]) -> Draft:
    waiting = [f"{name}: {workload.message}" for name, workload in workloads if not workload.ready]
    if waiting:
        return Draft(kind, False, "PodsNotReady", "; ".join(waiting))
    return Draft(
        kind, True, "PodsReady", "; ".join(f"{name}: {workload.message}" for name, workload in workloads)
    )


def _store_draft(facts: RegionFacts) -> Draft:
    postgres = facts.workloads["postgres"]
    if not postgres.ready:
        return Draft("StoreReady", False, "PodsNotReady", f"postgres: {postgres.message}")
    if facts.migration is JobState.FAILED:
        text = "the migrations Job failed and is tried again; see kubectl logs job/<region>-migrate-<hash>"
        return Draft("StoreReady", False, "MigrationFailed", text)
    if facts.migration is not JobState.SUCCEEDED:
        return Draft("StoreReady", False, "Migrating", "the migrations Job has not completed yet")
    return Draft("StoreReady", True, "Migrated", f"postgres: {postgres.message}; its schema is current")


def _report_drafts(report: RegionReport | None) -> list[Draft]:
    if report is None:
        return [
            Draft("ContractsValid", None, "StatusUnavailable", "the region API does not answer yet"),
            Draft("BackfillPending", None, "StatusUnavailable", "the region API does not answer yet"),
        ]
    refused = report.contracts.refused
    if refused:
        told = "; ".join(
            f"file {each.position} (sha256 {each.sha256}): {each.reason}" for each in refused[:8]
        )
        more = f"; and {len(refused) - 8} more" if len(refused) > 8 else ""
        contracts = Draft(
            "ContractsValid", False, "ContractsRefused", f"{told}{more}. Correct them in their Secret"
        )
    elif report.contracts.loaded == 0:
        contracts = Draft("ContractsValid", True, "NoContracts", "no contract is loaded; see spec.contracts")
    else:
        contracts = Draft(
            "ContractsValid", True, "ContractsLoaded", f"{report.contracts.loaded} contracts loaded"
        )
    backfill = report.backfill
    if backfill is None or backfill.state != "pending":
        return [contracts, Draft("BackfillPending", False, "NoBackfill", "no backfill holds a period")]
    text = (
        f"backfill {backfill.id} is open; load the history, then complete or revert it through the region API"
    )
    return [contracts, Draft("BackfillPending", True, "BackfillOpen", text)]


def _summary(site: Site, facts: RegionFacts, parts: Sequence[Draft]) -> list[Draft]:
    if facts.refusals:
        message = "; ".join(facts.refusals)
        return [
            Draft("Ready", False, "ApplyRefused", message),
            Draft("Reconciling", False, "ApplyRefused", message),
            Draft("Stalled", True, "ApplyRefused", message),
        ]
    missing = next((part for part in parts if part.type == "CredentialsMissing" and part.holds), None)
    if missing:
        return [
            Draft("Ready", False, "CredentialsMissing", missing.message),
            Draft("Reconciling", False, "CredentialsMissing", missing.message),
            Draft("Stalled", True, "CredentialsMissing", missing.message),
        ]
    waiting = next((part for part in parts if part.type.endswith("Ready") and not part.holds), None)
    if waiting:
        return [
            Draft("Ready", False, waiting.reason, waiting.message),
            Draft("Reconciling", True, waiting.reason, waiting.message),
            Draft("Stalled", False, "Progressing", ""),
        ]
    text = (
        "takes usage in; closing is suspended" if site.spec.suspend else "takes usage in and closes periods"
    )
    return [
        Draft("Ready", True, "AllPartsReady", text),
        Draft("Reconciling", False, "AllPartsReady", ""),
        Draft("Stalled", False, "AllPartsReady", ""),
    ]


def _phase(site: Site, summary: Sequence[Draft]) -> str:
    held = {draft.type for draft in summary if draft.holds}
    if "Stalled" in held:
        return "Stalled"
    if "Reconciling" in held:
        return "Progressing"
    return "Suspended" if site.spec.suspend else "Ready"
