"""BillingRegion: its children as they should be, its credentials, its status, and its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fleetmeter_operator.build import labels, migrations, stateful
from fleetmeter_operator.build.region import build_children
from fleetmeter_operator.build.secrets import KAFKA, MQTT, POSTGRES, build_secret, credentials
from fleetmeter_operator.build.site import Object, Site
from fleetmeter_operator.cluster import kinds
from fleetmeter_operator.cluster.apply import Live, apply_each, by_name, prune, write_status
from fleetmeter_operator.cluster.events import announce
from fleetmeter_operator.reconcile.admission import Refusal, admit
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.status.announcement import announcements
from fleetmeter_operator.status.observed import (
    JobState,
    ended_at,
    missing_secrets,
    observe_job,
    observe_workload,
)
from fleetmeter_operator.status.region import (
    PeriodCounts,
    RegionFacts,
    deleting_status,
    region_status,
    stalled_status,
)

_LOG = logging.getLogger("fleetmeter.operator")
KIND = "BillingRegion"
_UNSETTLED_SECONDS = 10.0
_GOING_SECONDS = 1.0
_ENGINES = (KAFKA, POSTGRES, MQTT)
_MIGRATION_RETRY = timedelta(seconds=60)


async def reconcile(context: Context, name: str) -> float | None:
    """Bring one region to what its spec says; the seconds after which to look again, or None."""
    client = context.client
    live = await client.get(KIND, name)
    if live is not None:
        context.departures.note(live, gone=False)
    if (live is None or context.departures.begun(name)) and await _bury(context, name):
        return _GOING_SECONDS
    if live is None:
        return None
    if live["metadata"].get("deletionTimestamp"):
        return await _finish(context, live)
    admitted = admit(live, context.images, context.jurisdiction, context.metrics_from)
    generation, now, old = live["metadata"]["generation"], context.clock(), live.get("status", {})
    if isinstance(admitted, Refusal):
        await _tell(context, live, stalled_status(admitted.reason, admitted.message, old, generation, now))
        return None
    await _guard_data(context, live, admitted)
    facts = await _converge(context, admitted)
    status = region_status(admitted, facts, old, generation, now)
    await _tell(context, live, status)
    return None if status["phase"] in ("Ready", "Suspended") else _UNSETTLED_SECONDS


async def _converge(context: Context, site: Site) -> RegionFacts:
    """Apply what differs, delete what is not wanted any more, and say what was observed."""
    client = context.client
    await _create_secrets(context, site)
    selector = f"{labels.MANAGED},{labels.REGION}={site.name}"
    live = by_name([found for kind in kinds.CHILDREN for found in await client.list(kind, selector)])
    desired, volumes = _with_claims(build_children(site), live)
    await _retry_migration(context, site, live)
    refusals = await apply_each(client, live, desired)
    await prune(client, live, desired, keep=("close",))
    pods = await client.list("Pod", selector)
    workloads = {
        each["metadata"]["labels"][labels.COMPONENT]: observe_workload(
            live.get((each["kind"], each["metadata"]["name"])), each["metadata"]["name"]
        )
        for each in desired
        if each["kind"] in ("StatefulSet", "Deployment")
    }
    return RegionFacts(
        workloads=workloads,
        migration=observe_job(live.get(("Job", migrations.build(site)["metadata"]["name"]))),
        report=await context.reports.read(site.name),
        missing_secrets=missing_secrets(pods),
        refusals=refusals,
        volumes=volumes,
        periods=await _count_periods(context, site.name),
    )


def _with_claims(children: Sequence[Object], live: Live) -> tuple[list[Object], list[str]]:
    """The children with claim templates that cannot change, and what a person is to do about them."""
    desired: list[Object] = []
    notes: list[str] = []
    for child in children:
        note = None
        if child["kind"] == "StatefulSet":
            child, note = stateful.keep_claims(child, live.get(("StatefulSet", child["metadata"]["name"])))
        desired.append(child)
        notes += [note] if note else []
    return desired, notes


async def _create_secrets(context: Context, site: Site) -> None:
    """Fresh passwords, only while the engine has no volume claim: an old volume knows only its old ones."""
    claims = {claim["metadata"]["name"] for claim in await context.client.list("PersistentVolumeClaim")}
    for credential in credentials(site):
        if stateful.claim_name(site, credential.component) not in claims:
            await context.client.create(build_secret(site, credential, context.generate))


async def _retry_migration(context: Context, site: Site, live: Live) -> None:
    """Delete a failed migrations Job after a pause, so that it is applied anew: no Job can be restarted."""
    key = ("Job", migrations.build(site)["metadata"]["name"])
    job = live.get(key)
    if job is None or observe_job(job) is not JobState.FAILED:
        return
    if context.clock() >= (ended_at(job) or context.clock()) + _MIGRATION_RETRY:
        await context.client.delete(*key)


async def _count_periods(context: Context, region: str) -> PeriodCounts:
    periods = await context.client.list("BillingPeriod", f"{labels.REGION}={region}")
    ordered = sorted(periods, key=lambda period: period["spec"]["start"])
    waiting = [p["metadata"]["name"] for p in ordered if p.get("status", {}).get("phase") != "Final"]
    return PeriodCounts(len(ordered), len(ordered) - len(waiting), waiting[0] if waiting else None)


async def _guard_data(context: Context, live: Object, site: Site) -> None:
    """Hold our finalizer exactly while the policy is Delete: under Retain we delay no deletion."""
    finalizers: list[str] = live["metadata"].get("finalizers", [])
    others = [each for each in finalizers if each != labels.DELETE_DATA]
    wanted = [*others, labels.DELETE_DATA] if site.spec.deletion_policy == "Delete" else others
    if set(wanted) != set(finalizers):
        await context.client.set_finalizers(live, wanted)


async def _finish(context: Context, live: Object) -> float | None:
    """The end of a region that has our finalizer: its data, then the finalizer.

    Everything else goes with its owner. Nothing here depends on a valid spec.
    """
    finalizers: list[str] = live["metadata"].get("finalizers", [])
    if labels.DELETE_DATA not in finalizers:
        return None
    if waiting := await _delete_data(context, live["metadata"]["name"]):
        generation, now = live["metadata"]["generation"], context.clock()
        await _tell(context, live, deleting_status(waiting, live.get("status", {}), generation, now))
        return _GOING_SECONDS
    await context.client.set_finalizers(live, [each for each in finalizers if each != labels.DELETE_DATA])
    return None


async def _bury(context: Context, name: str) -> bool:
    """The end of a region that went before it had our finalizer; whether that takes another look.

    It begins only while no region has the name. One that is made later waits, as a finalizer would make it.
    """
    departures, last = context.departures, context.departures.last(name)
    if last is not None and not departures.begun(name):
        admitted = admit(last, context.images, context.jurisdiction)
        if isinstance(admitted, Refusal) or admitted.spec.deletion_policy != "Delete":
            departures.settle(name)
        else:
            _LOG.info("%s %s went with deletionPolicy Delete: its data goes as well", KIND, name)
            departures.begin(name)
    if departures.begun(name) and await _delete_data(context, name):
        return True
    departures.settle(name)
    return False


async def _delete_data(context: Context, region: str) -> list[str]:
    """Delete the pods of a region, then its volumes and credentials; the names of what is not gone yet."""
    client, selector = context.client, f"{labels.MANAGED},{labels.REGION}={region}"
    for kind in ("Deployment", "StatefulSet", "Job"):
        await _delete_all(context, await client.list(kind, selector))
    owned = {f"{stateful.CLAIM}-{region}-{engine.component}-0" for engine in _ENGINES}
    claims = [c for c in await client.list("PersistentVolumeClaim") if c["metadata"]["name"] in owned]
    await _delete_all(context, claims)
    waiting = [each["metadata"]["name"] for each in (*await client.list("Pod", selector), *claims)]
    if not waiting:
        for engine in _ENGINES:
            await client.delete("Secret", engine.name(region))
    return waiting


async def _delete_all(context: Context, objects: Sequence[Object]) -> None:
    for each in objects:
        if not each["metadata"].get("deletionTimestamp"):
            await context.client.delete(each["kind"], each["metadata"]["name"])


async def _tell(context: Context, live: Object, status: dict[str, Any]) -> None:
    """Write the status where it changed, and post the Events that the change is worth."""
    old = live.get("status", {})
    if await write_status(context.client, live, status):
        for each in announcements(old, status):
            await announce(context.client, live, each, context.clock())
