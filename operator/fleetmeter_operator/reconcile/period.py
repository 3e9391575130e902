"""BillingPeriods of one region: made from the calendar, closed oldest first, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.period import Period
from fleetmeter_operator.build import close_job, labels
from fleetmeter_operator.build.digest import digest
from fleetmeter_operator.build.periods import build_periods
from fleetmeter_operator.build.plans import current_documents
from fleetmeter_operator.build.site import Object, Site
from fleetmeter_operator.cluster.apply import apply, write_status
from fleetmeter_operator.cluster.client import ApiError
from fleetmeter_operator.cluster.events import announce
from fleetmeter_operator.reconcile.admission import Refusal, admit
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.status.announcement import announcements
from fleetmeter_operator.status.close import Attempt, Decision, PeriodFacts, decide
from fleetmeter_operator.status.observed import ended_at, exit_code, last_words, observe_job
from fleetmeter_operator.status.period import misfit_status, period_status
from fleetmeter_operator.status.report import RegionReport

KIND = "BillingPeriod"


@dataclass(frozen=True)
class _Round:
    """What one pass over a region's periods works with."""

    site: Site
    report: RegionReport | None
    jobs: Sequence[Object]
    pods: Sequence[Object]
    plans: Sequence[str]
    plans_published: bool
    now: datetime


async def reconcile(context: Context, region: str) -> float | None:
    """Bring the periods of one region forward; the seconds after which to look again, or None."""
    owner = await context.client.get("BillingRegion", region)
    found = [p for p in await context.client.list(KIND) if p.get("spec", {}).get("regionName") == region]
    if owner is None:
        for live in (period for period in found if not period["metadata"].get("ownerReferences")):
            message = f"BillingRegion {region} does not exist; create it, or delete this period"
            await _misfit(context, live, "RegionNotFound", message)
        return None
    admitted = admit(owner, context.images, context.jurisdiction, context.metrics_from)
    if owner["metadata"].get("deletionTimestamp") or isinstance(admitted, Refusal):
        return None
    now = context.clock()
    expected = build_periods(admitted, now)
    refused = await _make(context, found, expected)
    names = {period["metadata"]["name"] for period in expected}
    for live in found:
        name = live["metadata"]["name"]
        if name not in names or name in refused:
            message = (
                f"not a period of the calendar of {region}: {refused.get(name, 'no period starts there')}"
            )
            await _misfit(context, live, "NotInCalendar", message)
    usable = [p for p in found if p["metadata"]["name"] in names and p["metadata"]["name"] not in refused]
    if len(usable) + len(refused) < len(expected):
        return 0.5  # just made: read them back first
    return await _advance(context, await _observe(context, admitted, now), usable)


async def _make(context: Context, found: Sequence[Object], expected: Sequence[Object]) -> dict[str, str]:
    """Create the missing periods, oldest first, and put drift back; what was refused, by name."""
    live = {period["metadata"]["name"]: period for period in found}
    refused: dict[str, str] = {}
    for period in expected:
        name = period["metadata"]["name"]
        before = live.get(name)
        if before is not None and before.get("status", {}).get("phase") == "Final":
            continue
        try:
            await apply(context.client, before, period)
        except ApiError as error:
            refused[name] = error.message
    return refused


async def _observe(context: Context, site: Site, now: datetime) -> _Round:
    client = context.client
    selector = f"{labels.REGION}={site.name},{labels.COMPONENT}={close_job.COMPONENT}"
    plans = await client.list("PricingPlan")
    return _Round(
        site=site,
        report=await context.reports.read(site.name),
        jobs=await client.list("Job", selector),
        pods=await client.list("Pod", selector),
        plans=_current_plans(plans, await client.list("ConfigMap", labels.PLAN)),
        plans_published=all(_looked_at(plan) for plan in plans),
        now=now,
    )


def _looked_at(plan: Object) -> bool:
    return plan.get("status", {}).get("observedGeneration") == plan["metadata"]["generation"]


def _current_plans(plans: Sequence[Object], published: Sequence[Object]) -> list[str]:
    live = {plan["metadata"]["name"]: plan.get("status", {}).get("configMapName", "") for plan in plans}
    return current_documents(published, live)


async def _advance(context: Context, around: _Round, periods: Sequence[Object]) -> float | None:
    """Take each period its one next step; a close starts only where every older period is Final, or waits
    for a person alone."""
    older: str | None = None
    look_again: list[datetime] = []
    for live in sorted(periods, key=lambda period: period["metadata"]["name"]):
        try:
            period = Period.from_resource(live)
        except ValidationError as error:
            await _misfit(context, live, "InvalidSpec", "; ".join(problems(error)))
            older = older or live["metadata"]["name"]
            continue
        facts = _facts(around, live, period, older)
        decision = decide(facts, around.now)
        await _step(context, around, live, facts, decision)
        if decision.look_again is not None:
            look_again.append(decision.look_again)
        if decision.holds_later_ones:
            older = older or period.name
    return max(0.0, (min(look_again) - around.now).total_seconds()) if look_again else None


async def _step(
    context: Context, around: _Round, live: Object, facts: PeriodFacts, decision: Decision
) -> None:
    old = live.get("status", {})
    status = period_status(facts, decision, old, live["metadata"]["generation"], around.now)
    if decision.start:
        attempt = (status["attempts"] or 0) + 1
        job = close_job.build(
            around.site, facts.name, live["metadata"]["uid"], attempt, around.plans, facts.inputs
        )
        await context.client.create(job)
        status |= {"attempts": attempt, "jobName": job["metadata"]["name"]}
    if await write_status(context.client, live, status):
        for each in announcements(old, status):
            await announce(context.client, live, each, around.now)


def _facts(around: _Round, live: Object, period: Period, older: str | None) -> PeriodFacts:
    request = live["metadata"].get("annotations", {}).get(labels.CLOSE_REQUESTED, "")
    report = around.report
    return PeriodFacts(
        name=period.name,
        spec=period.spec,
        report=report.periods.get(period.name) if report else None,
        answered=report is not None,
        attempts=[_attempt(job, around.pods) for job in around.jobs if _of(job, period.name)],
        was_final=live.get("status", {}).get("phase") == "Final",
        older=older,
        suspended=around.site.spec.suspend,
        requested=bool(request),
        inputs=_inputs(around, request),
        plans_published=around.plans_published,
    )


def _inputs(around: _Round, request: str) -> str:
    """What an attempt depends on: when it changes, a failed close is worth another attempt at once."""
    contracts = around.report.contracts.model_dump() if around.report else {}
    return digest([close_job.inputs_hash(around.site, around.plans), contracts, request])


def _of(job: Object, period: str) -> bool:
    return job["metadata"].get("labels", {}).get(labels.PERIOD) == period


def _attempt(job: Object, pods: Sequence[Object]) -> Attempt:
    metadata: Mapping[str, Mapping[str, str]] = job["metadata"]
    return Attempt(
        number=int(metadata["labels"].get(labels.ATTEMPT, "1")),
        state=observe_job(job),
        inputs=metadata.get("annotations", {}).get(labels.INPUTS, ""),
        exit_code=exit_code(job, pods),
        ended_at=ended_at(job),
        last_words=last_words(job, pods),
    )


async def _misfit(context: Context, live: Object, reason: str, message: str) -> None:
    old = live.get("status", {})
    status = misfit_status(reason, message, old, live["metadata"]["generation"], context.clock())
    await write_status(context.client, live, status)
