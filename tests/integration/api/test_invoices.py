"""Invoices, usage and the quarantine, as the ledger has them."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from fleetmeter_workers.ledger import quarantine, registry, usage
from fleetmeter_workers.ledger.quarantine import QuarantineRow
from fleetmeter_workers.ledger.usage import HourSum

from .conftest import add_invoice, add_period


def test_an_invoice_is_given_to_the_byte_and_as_a_page(api) -> None:
    with api.ledger() as connection:
        document = add_invoice(connection, add_period(connection, "acme-1", "acme"), "EU-000001", "1234.50")
    stored = api.get("/v1/invoices/EU-000001")
    assert stored.content == document
    assert stored.headers["content-type"] == "application/json"
    assert stored.headers["etag"] == f'"{hashlib.sha256(document).hexdigest()}"'
    page = api.get("/v1/invoices/EU-000001/page")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "€1,234.50 for January 2023" in page.text
    assert "&lt;b&gt;Acmé&lt;/b&gt;" in page.text


def test_invoices_are_listed_page_by_page(api) -> None:
    with api.ledger() as connection:
        period_id = add_period(connection, "acme-1", "acme")
        documents = [
            add_invoice(connection, period_id, f"EU-{number:06d}", "0.10", version=number, events=739)
            for number in range(1, 6)
        ]
    first = api.get("/v1/invoices", limit="2").json()
    assert [each["number"] for each in first["invoices"]] == ["EU-000001", "EU-000002"]
    second = api.get("/v1/invoices", limit="3", after=first["next"]).json()
    assert [each["number"] for each in second["invoices"]] == ["EU-000003", "EU-000004", "EU-000005"]
    assert api.get("/v1/invoices", after=second["next"]).json() == {"invoices": [], "next": None}
    assert first["invoices"][0] == {
        "number": "EU-000001",
        "version": 1,
        "contract": "acme-1",
        "customer": "acme",
        "billingPeriod": "eu-202301",
        "currency": "EUR",
        "total": "0.10",
        "events": 739,
        "issueDate": "2023-02-04",
        "sha256": hashlib.sha256(documents[0]).hexdigest(),
        "amends": None,
    }
    assert api.get("/v1/invoices", contract="other").json()["invoices"] == []
    assert len(api.get("/v1/invoices", billingPeriod="eu-202301").json()["invoices"]) == 5


def test_usage_is_summed_in_decimals(api) -> None:
    with api.ledger() as connection:
        period_id = add_period(connection, "acme-1", "acme")
        metric_id = registry.metric_ids(connection, [("messages", "Delta", "message")])["messages"]
        one = HourSum(2, 1, Decimal("0.1"))
        hours = {(period_id, metric_id, datetime(2023, 1, 5, hour, tzinfo=UTC)): one for hour in range(3)}
        usage.add_hours(connection, hours)
    expected = {
        "customer": "acme",
        "contract": "acme-1",
        "billingPeriod": "eu-202301",
        "metric": "messages",
        "events": 6,
        "late": 3,
        "quantity": "0.3",
    }
    assert api.get("/v1/usage").json() == {"usage": [expected], "truncated": False}
    assert api.get("/v1/usage", by="day").json()["usage"] == [expected | {"day": "2023-01-05"}]
    assert api.get("/v1/usage", customer="other").json()["usage"] == []


def test_the_quarantine_is_counted_and_listed(api) -> None:
    rows = [
        QuarantineRow(
            topic_id=UUID(int=1),
            partition=0,
            record_offset=offset,
            item=-1,
            received_at=datetime(2023, 1, 5, tzinfo=UTC),
            reason=reason,
            detail="not JSON",
            adapter="json",
            topic="uplink/json",
            headers={},
            raw=b"{",
        )
        for offset, reason in enumerate(["unparseable", "unparseable", "unknown_device"])
    ]
    with api.ledger() as connection:
        quarantine.add(connection, rows)
    found = api.get("/v1/quarantine").json()
    assert found["counts"] == {"unparseable": 2, "unknown_device": 1}
    assert [each["offset"] for each in found["quarantine"]] == [0, 1, 2]
    assert found["quarantine"][0]["bytes"] == 1
    page = api.get("/v1/quarantine", reason="unparseable", limit="1").json()
    assert len(page["quarantine"]) == 1
    rest = api.get("/v1/quarantine", reason="unparseable", after=str(page["next"])).json()
    assert [each["offset"] for each in rest["quarantine"]] == [1]
    assert api.status()["quarantined"] == {"unparseable": 2, "unknown_device": 1}
