"""Documents and contracts: canonical text, hashes, refusals without values, overlaps, backfills."""

import json
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.contract import Contract
from fleetmeter_api.engines import Broker
from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import Backfill, Region

REGION = """
metadata: {name: eu}
spec:
  jurisdiction: EU
  calendar: {firstPeriod: 2023-01-01}
  metrics: [{code: messages, kind: Delta, unit: message}]
  invoicing: {sellerSecretName: seller, series: EU}
  broker: {type: Embedded}
  store: {type: Embedded}
"""
PLAN = """
metadata: {name: sensor}
spec:
  currency: EUR
  versions:
    - version: v1
      effectiveFrom: 2023-01-01T00:00:00Z
      charges: [{name: m, metric: messages, model: PerUnit, unitPrice: "0.10"}]
"""
CUSTOMER = {"code": "alpine", "name": "Alpine Weather", "address": ["Street 1", "Town"]}


def contract(**fields: Any) -> Contract:
    """A contract with some fields different."""
    return Contract.model_validate(
        {"contract": "c1", "customer": CUSTOMER, "plan": "sensor", "validFrom": "2023-01-01", **fields}
    )


def test_a_document_has_one_text_however_it_is_written() -> None:
    plan = PlanDocument.from_resource(yaml.safe_load(PLAN))
    other = PlanDocument.from_resource(yaml.safe_load(PLAN.replace("00:00:00Z", "01:00:00+01:00")))
    assert plan.canonical() == other.canonical()
    assert len(plan.content_hash) == 64
    assert plan.config_map_name == f"plan-sensor-{plan.content_hash[:10]}"
    assert PlanDocument.model_validate_json(plan.canonical()) == plan


def test_a_price_with_other_digits_is_another_document() -> None:
    plan, other = (
        PlanDocument.from_resource(yaml.safe_load(PLAN.replace("0.10", price))) for price in ("0.10", "0.1")
    )
    assert plan.content_hash != other.content_hash


def test_a_price_as_a_bare_number_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValidationError) as refusal:
        PlanDocument.from_resource(yaml.safe_load(PLAN.replace('"0.10"', "0.10")))
    (problem,) = problems(refusal.value)
    assert problem.startswith("spec.versions.0.charges.0.unitPrice: write a decimal as a quoted string")


def test_a_region_travels_as_json() -> None:
    region = Region.from_resource(yaml.safe_load(REGION))
    assert Region.model_validate_json(region.canonical()) == region
    assert json.loads(region.canonical())["spec"]["lateUsage"] == {
        "gracePeriodSeconds": 259200,
        "policy": "Grace",
    }
    assert region.backfill_id is None
    assert region.spec.broker.embedded_settings.storage == "10Gi"


def test_the_class_default_always_exists() -> None:
    spec = Region.from_resource(yaml.safe_load(REGION)).spec
    found = spec.device_class("default")
    assert found is not None
    assert (found.time_fallback, found.max_offline_seconds) == ("Quarantine", 604_800)
    assert spec.device_class("other") is None


def test_a_backfill_is_named_by_its_days_in_utc() -> None:
    backfill = Backfill.model_validate({"from": "2023-01-01T00:00:00+01:00", "to": "2023-10-01T00:00:00Z"})
    assert backfill.backfill_id == "20221231-20231001"
    assert backfill.covers(backfill.from_)
    assert not backfill.covers(backfill.to)


def test_a_refusal_names_the_field_and_repeats_no_value() -> None:
    secret = "Alpine Weather GmbH"
    with pytest.raises(ValidationError) as refusal:
        contract(
            validTo="2022-01-01",
            customer={"code": secret, secret: 1},
            lateUsage=secret,
            gracePeriodSeconds=-1,
        )
    found = problems(refusal.value)
    assert not [text for text in found if secret in text]
    assert {text.partition(":")[0] for text in found} == {
        "customer.code", "customer.name", "customer.address", "customer.?", "lateUsage", "gracePeriodSeconds",
    }  # fmt: skip
    assert "customer.name: this field is required; add it" in found


def test_a_contract_ends_after_it_starts() -> None:
    assert contract(validTo="2023-01-02").valid_to
    with pytest.raises(ValidationError, match="validTo must be later than validFrom"):
        contract(validTo="2023-01-01")
    assert contract(lateAfterFinal="WriteOff").late_after_final == "WriteOff"
    assert contract(lateAfterFinal="Hold", lateUsage="Defer").late_usage == "Defer"
    with pytest.raises(ValidationError, match="lateAfterFinal WriteOff goes with lateUsage Grace"):
        contract(lateAfterFinal="WriteOff", lateUsage="Defer")


@pytest.mark.parametrize(
    "field", [{"anchorDay": "1"}, {"anchorDay": True}, {"gracePeriodSeconds": 1.0}, {"plan": 1}]
)
def test_a_value_of_another_type_is_refused_as_the_cluster_does(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        contract(**field)


@pytest.mark.parametrize(
    ("one", "two", "overlap"),
    [
        (("2023-01-01", None), ("2030-01-01", None), True),
        (("2023-01-01", "2023-06-01"), ("2023-06-01", None), False),
        (("2023-01-01", "2023-06-02"), ("2023-06-01", None), True),
        (("2023-01-01", "2023-02-01"), ("2023-03-01", "2023-04-01"), False),
        (("2023-01-01", "2023-12-01"), ("2023-03-01", "2023-04-01"), True),
    ],
)
def test_contracts_of_one_customer_overlap_by_day(one: Any, two: Any, overlap: bool) -> None:
    first, second = (contract(validFrom=start, validTo=end) for start, end in (one, two))
    assert first.overlaps(second) == second.overlaps(first) == overlap
    assert not first.overlaps(contract(customer={**CUSTOMER, "code": "harbour"}))


def test_a_model_is_frozen_and_closed() -> None:
    broker = Broker(type="Embedded")
    with pytest.raises(ValidationError, match="frozen"):
        broker.type = "External"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Broker.model_validate({"type": "Embedded", "embeded": {}})
