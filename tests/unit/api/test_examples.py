"""The demo's resources, contracts and registry: valid, and consistent with each other."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetmeter_api.contract import Contract, Seller
from fleetmeter_api.manifests import GROUP, VERSION
from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import Region

DEMO = Path(__file__).parents[3] / "examples" / "demo"


def documents(name: str) -> list[dict[str, Any]]:
    """The YAML documents of a file of the demo."""
    return list(yaml.safe_load_all((DEMO / name).read_text(encoding="utf-8")))


@pytest.fixture
def region() -> Region:
    """The demo's region."""
    (resource,) = documents("region.yaml")
    return Region.from_resource(resource)


@pytest.fixture
def plans() -> dict[str, PlanDocument]:
    """The demo's plans, by name."""
    return {plan.name: plan for plan in map(PlanDocument.from_resource, documents("plans.yaml"))}


@pytest.fixture
def contracts() -> list[Contract]:
    """The demo's contracts."""
    paths = sorted((DEMO / "contracts").glob("*.yaml"))
    return [Contract.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths]


@pytest.fixture
def devices() -> list[dict[str, str]]:
    """The demo's device registry."""
    return [json.loads(line) for line in (DEMO / "devices.ndjson").read_text(encoding="utf-8").splitlines()]


def test_every_resource_is_of_the_group() -> None:
    for resource in (*documents("region.yaml"), *documents("plans.yaml")):
        assert resource["apiVersion"] == f"{GROUP}/{VERSION}"
        assert resource["kind"] in ("BillingRegion", "PricingPlan")


def test_the_region_bills_nine_months_of_history(region: Region) -> None:
    calendar = region.spec.calendar
    assert (str(calendar.first_period), str(calendar.last_period)) == ("2023-01-01", "2023-09-01")
    assert region.backfill_id == "20230101-20231001"
    assert {region.spec.broker.type, region.spec.store.type, region.spec.mqtt.type} == {"Embedded"}


def test_every_charge_prices_a_metric_of_the_region(region: Region, plans: dict[str, PlanDocument]) -> None:
    codes = {metric.code for metric in region.spec.metrics}
    charges = [
        charge for plan in plans.values() for version in plan.spec.versions for charge in version.charges
    ]
    assert {charge.metric for charge in charges} <= codes
    assert {charge.model for charge in charges} == {"Graduated", "Volume", "PerUnit"}
    assert {charge.measure for charge in charges} == {"Quantity", "ActiveDevices"}


def test_every_contract_has_a_plan_and_overlaps_no_other(
    plans: dict[str, PlanDocument], contracts: list[Contract]
) -> None:
    assert {contract.plan for contract in contracts} == set(plans)
    assert not [pair for pair in combinations(contracts, 2) if pair[0].overlaps(pair[1])]


def test_every_device_has_a_customer_and_a_class(
    region: Region, contracts: list[Contract], devices: list[dict[str, str]]
) -> None:
    assert {device["uid"] for device in devices} == {"a81758fffe04b1c1", "d1d1e80000000032"}
    assert {device["customer"] for device in devices} == {contract.customer.code for contract in contracts}
    for device in devices:
        assert region.spec.device_class(device["deviceClass"])
        assert not re.search(r"[0-9a-f]{8}|:", device["alias"]), "an alias is never a hardware id"


def test_the_seller_and_the_tokens(region: Region) -> None:
    (seller,) = documents("seller.yaml")
    assert Seller.model_validate(seller).name
    (tokens,) = documents("tokens.example.yaml")
    assert all(re.fullmatch("[0-9a-f]{64}", token["sha256"]) for token in tokens["tokens"])
