"""Invoices, usage and the quarantine, as the ledger has them."""

import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from fleetmeter_workers.ledger import invoices, quarantine, registry, usage
from fleetmeter_workers.ledger.invoices import NewInvoice
from fleetmeter_workers.ledger.quarantine import QuarantineRow
from fleetmeter_workers.ledger.usage import HourSum

_START = datetime(2022, 12, 31, 23, tzinfo=UTC)
_END = datetime(2023, 1, 31, 23, tzinfo=UTC)


def _period(connection, contract: str, customer: str, billing_period: str = "eu-202301") -> int:
    customer_id = registry.customer_ids(connection, [customer])[customer]
    row = connection.execute(
        "INSERT INTO fleetmeter.contract_period (contract, customer_id, billing_period, starts_at, ends_at, "
        "cutoff_at, late_usage) VALUES (%s, %s, %s, %s, %s, %s, 'Grace') RETURNING period_id",
        (contract, customer_id, billing_period, _START, _END, datetime(2023, 2, 3, 23, tzinfo=UTC)),
    ).fetchone()
    return row[0]


def _document(number: str, total: str) -> bytes:
    # Spaces and a non-ASCII name: the stored bytes must come back, not a rendering of them.
    return json.dumps(
        {
            "schema": "fleetmeter.io/invoice/v1",
            "number": number,
            "version": 1,
            "issueDate": "2023-02-04",
            "currency": "EUR",
            "seller": {"name": "Verkäufer", "address": ["A"], "taxId": "1", "email": "a@b.example"},
            "customer": {"code": "acme", "name": "<b>Acmé</b>", "address": ["B"]},
            "contract": "acme-1",
            "plan": {"name": "standard", "version": "1", "hash": ""},
            "period": {
                "billingPeriod": "eu-202301",
                "start": "2022-12-31T23:00:00Z",
                "end": "2023-01-31T23:00:00Z",
                "timeZone": "Europe/Paris",
                "cutOff": "2023-02-03T23:00:00Z",
            },
            "lines": [],
            "subtotal": total,
            "total": total,
            "snapshot": {"events": 0, "digest": "sha256:00"},
        },
        ensure_ascii=False,
        indent=1,
    ).encode()


def _add_invoice(connection, number: str, period_id: int, total: str, version: int = 1) -> bytes:
    document = _document(number, total)
    new = NewInvoice(
        number=number,
        contract="acme-1",
        period_id=period_id,
        version=version,
        billing_period="eu-202301",
        currency="EUR",
        total=Decimal(total),
        events=739,
        document=document,
        sha256=hashlib.sha256(document).digest(),
        issued_on=date(2023, 2, 4),
    )
    invoices.add(connection, new)
    return document


def test_an_invoice_is_given_to_the_byte_and_as_a_page(api) -> None:
    with api.ledger() as connection:
        document = _add_invoice(connection, "EU-000001", _period(connection, "acme-1", "acme"), "1234.50")
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
        period_id = _period(connection, "acme-1", "acme")
        for number in range(1, 6):
            _add_invoice(connection, f"EU-{number:06d}", period_id, "0.10", version=number)
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
        "sha256": hashlib.sha256(_document("EU-000001", "0.10")).hexdigest(),
    }
    assert api.get("/v1/invoices", contract="other").json()["invoices"] == []
    assert len(api.get("/v1/invoices", billingPeriod="eu-202301").json()["invoices"]) == 5


def test_usage_is_summed_in_decimals(api) -> None:
    with api.ledger() as connection:
        period_id = _period(connection, "acme-1", "acme")
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
