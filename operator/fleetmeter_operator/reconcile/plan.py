"""PricingPlan: validated, each content published once, its use and its cliffs told."""

from __future__ import annotations

from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.plan import PlanDocument
from fleetmeter_operator.build import labels
from fleetmeter_operator.build.plans import build_plan, describe_cliffs
from fleetmeter_operator.cluster.apply import apply, by_name, write_status
from fleetmeter_operator.cluster.events import announce
from fleetmeter_operator.reconcile.context import Context
from fleetmeter_operator.status.announcement import announcements
from fleetmeter_operator.status.plan import invalid_status, plan_status

KIND = "PricingPlan"


async def reconcile(context: Context, name: str) -> float | None:
    """Publish one plan; None, since only a change of the plan or of its use makes another look worth it.

    A deleted plan leaves its ConfigMaps: periods that are not closed yet may still need its prices.
    """
    client = context.client
    live = await client.get(KIND, name)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return None
    old, generation, now = live.get("status", {}), live["metadata"]["generation"], context.clock()
    try:
        document = PlanDocument.from_resource(live)
    except ValidationError as error:
        status = invalid_status(problems(error), old, generation, now)
    else:
        desired = build_plan(document, client.namespace)
        published = by_name(await client.list("ConfigMap", f"{labels.PLAN}={name}"))
        await apply(client, published.get(("ConfigMap", document.config_map_name)), desired)
        used_by = await _used_by(context, name)
        status = plan_status(document, describe_cliffs(document), used_by, old, generation, now)
    if await write_status(client, live, status):
        for each in announcements(old, status):
            await announce(client, live, each, now)
    return None


async def _used_by(context: Context, plan: str) -> list[str]:
    """The regions whose contracts name the plan, sorted."""
    regions = [region["metadata"]["name"] for region in await context.client.list("BillingRegion")]
    reports = {region: await context.reports.read(region) for region in sorted(regions)}
    return [
        region for region, report in reports.items() if report is not None and plan in report.plans_in_use
    ]
