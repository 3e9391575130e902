"""The status of a PricingPlan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fleetmeter_api.plan import PlanDocument
from fleetmeter_operator.status.condition import Draft, settle


def invalid_status(
    faults: Sequence[str], old: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status of a plan that the model refuses; what it published before stays in use."""
    message = f"not published: {'; '.join(faults)}"
    drafts = [
        Draft("Ready", False, "InvalidSpec", message),
        Draft("Reconciling", False, "InvalidSpec", message),
        Draft("Stalled", True, "InvalidSpec", message),
    ]
    kept = {name: value for name, value in old.items() if name not in ("observedGeneration", "conditions")}
    return {
        **kept,
        "observedGeneration": generation,
        "conditions": settle(drafts, old.get("conditions", []), generation, now),
    }


def plan_status(
    document: PlanDocument,
    drops: Sequence[str],
    used_by: Sequence[str],
    old: Mapping[str, Any],
    generation: int,
    now: datetime,
) -> dict[str, Any]:
    """The status of a published plan. `drops` are its cliffs, `used_by` the regions with contracts on it."""
    newest = document.spec.versions[-1].version
    cliff = (
        Draft("CliffWarning", True, "MoreCostsLess", "; ".join(drops))
        if drops
        else Draft("CliffWarning", False, "NoCliff", "more usage never costs less")
    )
    drafts = [
        Draft("Ready", True, "Published", f"version {newest} is published as {document.config_map_name}"),
        Draft("Reconciling", False, "Published", ""),
        Draft("Stalled", False, "Published", ""),
        cliff,
    ]
    return {
        "observedGeneration": generation,
        "conditions": settle(drafts, old.get("conditions", []), generation, now),
        "latestVersion": newest,
        "versions": len(document.spec.versions),
        "publishedHash": document.content_hash,
        "configMapName": document.config_map_name,
        "inUse": bool(used_by),
        "usedBy": list(used_by) or None,
    }
