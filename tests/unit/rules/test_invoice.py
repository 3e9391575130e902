"""Invoice: the whole document of one month, by example."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fleetmeter_api.contract import Customer, Seller
from fleetmeter_api.plan import PlanVersion
from fleetmeter_rules.adjustment import LatePeriod
from fleetmeter_rules.calendar import Calendar, contract_period
from fleetmeter_rules.invoice import (
    DeviceUsage,
    Heading,
    Invoice,
    Snapshot,
    SnapshotMismatchError,
    canonical_bytes,
    document,
    draw_up,
)
from fleetmeter_rules.rounding import UnknownCurrencyError

JANUARY = contract_period(datetime(2023, 1, 15, tzinfo=UTC), Calendar("Europe/Paris"))
SELLER = Seller(name="Meter Ltd", address=("2 High St",), tax_id="FR 123", email="billing@example.com")
CUSTOMER = Customer(code="acme", name="Acmé", address=("1 rue X",), tax_id="FR 456", email="a@example.com")
HEADING = Heading(
    number="EU-000001",
    series="EU",
    region="eu",
    jurisdiction="EU",
    currency="EUR",
    seller=SELLER,
    customer=CUSTOMER,
    contract="C-1",
    plan="standard",
    plan_hash="ab" * 32,
    billing_period="eu-202301",
    period=JANUARY,
    time_zone="Europe/Paris",
    cut_off=JANUARY.end + timedelta(hours=72),
    grace=timedelta(hours=72),
    late_usage="Grace",
)
PLAN = PlanVersion.model_validate(
    {
        "version": "1",
        "effectiveFrom": "2023-01-01T00:00:00Z",
        "charges": [
            {"name": "msg", "metric": "messages", "model": "PerUnit", "unitPrice": "0.0125"},
            {
                "name": "dev",
                "metric": "messages",
                "measure": "ActiveDevices",
                "model": "Graduated",
                "tiers": [{"upTo": "1", "unitPrice": "2"}, {"unitPrice": "1.5"}],
            },
            {"name": "energy", "metric": "energy", "model": "PerUnit", "unitPrice": "1"},
        ],
    }
)
FIRST, LAST = datetime(2023, 1, 4, 21, 31, 22, 661000, tzinfo=UTC), datetime(2023, 1, 30, tzinfo=UTC)
USAGE = (
    DeviceUsage("device-b", "messages", Decimal(1), 1, FIRST, FIRST),
    DeviceUsage("device-a", "messages", Decimal(2), 2, FIRST, LAST),
)
UNITS = {"messages": "message", "energy": "kW.h"}


def drawn(usage: tuple[DeviceUsage, ...] = USAGE, heading: Heading = HEADING) -> Invoice:
    events = sum(entry.events for entry in usage)
    return draw_up(heading, PLAN, UNITS, usage, Snapshot(events, "sha256:00"))


def test_the_document() -> None:
    found = document(drawn())
    lines = found.pop("lines")
    assert found == {
        "schema": "fleetmeter.io/invoice/v1",
        "number": "EU-000001",
        "version": 1,
        "series": "EU",
        "region": "eu",
        "jurisdiction": "EU",
        "issueDate": "2023-02-04",
        "currency": "EUR",
        "seller": {
            "name": "Meter Ltd",
            "address": ["2 High St"],
            "taxId": "FR 123",
            "email": "billing@example.com",
        },
        "customer": {"code": "acme", "name": "Acmé", "address": ["1 rue X"], "taxId": "FR 456"},
        "contract": "C-1",
        "plan": {"name": "standard", "version": "1", "hash": "ab" * 32},
        "period": {
            "billingPeriod": "eu-202301",
            "start": "2022-12-31T23:00:00Z",
            "end": "2023-01-31T23:00:00Z",
            "timeZone": "Europe/Paris",
            "cutOff": "2023-02-03T23:00:00Z",
            "graceSeconds": 259200,
            "lateUsage": "Grace",
        },
        "events": 3,
        "adjustments": [],
        "subtotal": "3.54",
        "total": "3.54",
        "snapshot": {"events": 3, "digest": "sha256:00"},
    }
    assert [(line["charge"], line["quantity"], line["exact"], line["amount"]) for line in lines] == [
        ("msg", "3", "0.0375", "0.04"),
        ("dev", "2", "3.5", "3.50"),
        ("energy", "0", "0", "0.00"),
    ]
    assert [line["unit"] for line in lines] == ["message", "devices", "kW.h"]
    assert lines[0]["byDevice"] == [
        {
            "device": "device-a",
            "quantity": "2",
            "events": 2,
            "amount": "0.03",
            "firstEvent": "2023-01-04T21:31:22.661000Z",
            "lastEvent": "2023-01-30T00:00:00Z",
        },
        {
            "device": "device-b",
            "quantity": "1",
            "events": 1,
            "amount": "0.01",
            "firstEvent": "2023-01-04T21:31:22.661000Z",
            "lastEvent": "2023-01-04T21:31:22.661000Z",
        },
    ]
    assert [tier["amount"] for tier in lines[1]["tiers"]] == ["2", "1.5"]
    assert lines[2]["byDevice"] == []


def test_the_bytes_are_canonical_and_do_not_depend_on_the_order() -> None:
    first, second = drawn(), drawn(USAGE[::-1])
    assert canonical_bytes(first) == canonical_bytes(second)
    assert json.loads(canonical_bytes(first)) == document(first)
    assert "Acmé".encode() in canonical_bytes(first)
    assert b": " not in canonical_bytes(first)


def test_a_month_without_usage_is_an_invoice_of_zero() -> None:
    empty = drawn(())
    assert document(empty)["total"] == "0.00"
    assert [line["amount"] for line in document(empty)["lines"]] == ["0.00"] * 3


def test_a_currency_without_cents() -> None:
    assert document(drawn(heading=replace(HEADING, currency="JPY")))["total"] == "4"
    with pytest.raises(UnknownCurrencyError):
        drawn(heading=replace(HEADING, currency="XXX"))


def test_usage_that_is_not_the_snapshots_is_not_invoiced() -> None:
    with pytest.raises(SnapshotMismatchError, match="usage of 3 events, but a snapshot of 4"):
        draw_up(HEADING, PLAN, UNITS, USAGE, Snapshot(4, "sha256:00"))
    with pytest.raises(ValueError, match="given twice"):
        drawn((USAGE[0], USAGE[0]))


def test_no_tax_id_no_key() -> None:
    assert (
        "taxId"
        not in document(
            drawn(heading=replace(HEADING, customer=CUSTOMER.model_copy(update={"tax_id": None})))
        )["customer"]
    )


def test_late_usage_of_an_earlier_month_is_an_adjustment_that_names_it() -> None:
    december = contract_period(datetime(2022, 12, 15, tzinfo=UTC), Calendar("Europe/Paris"))
    at = december.start
    late = LatePeriod(
        "eu-202212",
        december,
        PLAN,
        (),
        {"msg": Decimal(0)},
        (DeviceUsage("device-a", "messages", Decimal(4), 4, at, at),),
    )
    found = document(draw_up(HEADING, PLAN, UNITS, USAGE, Snapshot(7, "sha256:00"), [late]))
    assert [(a["billingPeriod"], a["charge"], a["quantity"], a["amount"]) for a in found["adjustments"]] == [
        ("eu-202212", "msg", "4", "0.05"),
        ("eu-202212", "dev", "1", "2.00"),
    ]
    assert (found["subtotal"], found["total"], found["events"]) == ("3.54", "5.59", 7)
    assert found["adjustments"][0]["byDevice"][0]["amount"] == "0.05"
