"""Pricing plans on a real API server: published once a content, kept for as long as someone may need them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fleetmeter_cluster.progress import await_true

Body = Callable[..., dict[str, Any]]
PLAN = "fleetmeter.io/plan=iot"


@pytest.fixture
def site(lasting: Any) -> Any:
    """A site with a running operator, shared: each test has a plan of its own."""
    if lasting.process is None:
        lasting.start_operator()
    return lasting


def version(name: str, day: str, price: str) -> dict[str, Any]:
    charge = {"name": "messages", "metric": "messages", "model": "PerUnit", "unitPrice": price}
    return {"version": name, "effectiveFrom": f"{day}T00:00:00Z", "charges": [charge]}


def test_each_content_is_published_once_and_kept(site: Any, plan: Body, region: Body) -> None:
    site.report("eu", plansInUse=["iot"])
    site.create(plan())
    site.create(region())
    await_true(lambda: site.condition("PricingPlan", "iot", "Ready")[0] == "True", "the plan to be published")
    (first,) = site.every("ConfigMap", PLAN)
    assert first["immutable"] is True
    assert json.loads(first["data"]["plan.json"])["spec"]["currency"] == "EUR"
    await_true(lambda: site.get("PricingPlan", "iot")["status"].get("usedBy") == ["eu"], "its use to be told")
    both = [version("1", "2022-01-01", "0.01"), version("2", "2024-01-01", "0.02")]
    site.patch("PricingPlan", "iot", {"spec": {"versions": both}})
    await_true(lambda: site.get("PricingPlan", "iot")["status"]["latestVersion"] == "2", "the new version")
    assert len(site.names("ConfigMap", PLAN)) == 2
    site.delete("PricingPlan", "iot")
    await_true(lambda: site.get("PricingPlan", "iot") is None, "the plan to go at once")
    rounds = site.rounds()
    await_true(lambda: site.rounds() > rounds + 1, "two more rounds")
    assert len(site.names("ConfigMap", PLAN)) == 2


def test_a_deleted_document_is_published_again(site: Any, plan: Body) -> None:
    label = "fleetmeter.io/plan=lost"
    site.create(plan("lost"))
    await_true(lambda: site.names("ConfigMap", label), "the document")
    (name,) = site.names("ConfigMap", label)
    site.delete("ConfigMap", name)
    await_true(lambda: site.names("ConfigMap", label) == [name], "the document to be back")


def test_a_cliff_is_told(site: Any, plan: Body) -> None:
    tiers = [{"upTo": "1000", "unitPrice": "0.010"}, {"unitPrice": "0.005"}]
    charge = {"name": "messages", "metric": "messages", "model": "Volume", "tiers": tiers}
    steep = {"version": "1", "effectiveFrom": "2022-01-01T00:00:00Z", "charges": [charge]}
    site.create(plan("steep", versions=[steep]))
    await_true(lambda: site.condition("PricingPlan", "steep", "CliffWarning")[0] == "True", "the warning")
    assert "1000 units cost 10.000" in site.condition("PricingPlan", "steep", "CliffWarning")[2]
    assert site.condition("PricingPlan", "steep", "Ready")[0] == "True"
