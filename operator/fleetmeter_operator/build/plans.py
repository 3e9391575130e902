"""Published plans: each content once, as an immutable ConfigMap, and where one asks less for more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleetmeter_api.plan import PlanDocument
from fleetmeter_operator.build import labels
from fleetmeter_operator.build.site import Object
from fleetmeter_rules.pricing import cliffs

PLAN_FILE = "plan.json"


def build_plan(document: PlanDocument, namespace: str) -> Object:
    """The ConfigMap of one content of a plan. It has no owner: invoices outlive the plan that priced them."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": document.config_map_name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": "fleetmeter",
                labels.MANAGED_BY: labels.MANAGER,
                labels.PLAN: document.name,
            },
        },
        "immutable": True,
        "data": {PLAN_FILE: document.canonical().decode()},
    }


def current_documents(published: Iterable[Object], live: Mapping[str, str]) -> list[str]:
    """The one ConfigMap a plan that a close prices by, sorted.

    `live` maps the name of each existing plan to its ConfigMap; a plan that was deleted keeps its newest.
    """
    newest: dict[str, tuple[str, str]] = {}
    for config_map in published:
        metadata = config_map["metadata"]
        plan = metadata.get("labels", {}).get(labels.PLAN, "")
        candidate = (metadata.get("creationTimestamp", ""), metadata["name"])
        if live.get(plan) == metadata["name"]:
            newest[plan] = ("9999", metadata["name"])
        elif candidate > newest.get(plan, ("", "")):
            newest[plan] = candidate
    return sorted(name for _, name in newest.values())


def describe_cliffs(document: PlanDocument) -> list[str]:
    """Where one unit more makes the bill smaller: a sentence a drop, for the plan's newest version."""
    return [
        f"charge {charge.name}: {cliff.at:f} units cost {cliff.before:f}, just over that {cliff.after:f};"
        " use model Graduated or a flat fee on the next tier, unless that is meant"
        for charge in document.spec.versions[-1].charges
        if charge.model == "Volume"
        for cliff in cliffs(charge.tiers or ())
    ]
