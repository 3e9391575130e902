"""Invoices: listed, as the stored JSON to the byte, and as a page."""

import hashlib

import msgspec
from starlette.responses import Response

from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.documents.page import render_page
from fleetmeter_workers.ledger import invoices

# The page is self-contained; a browser is told to load nothing and to run nothing.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}


class InvoiceEntry(msgspec.Struct, frozen=True, rename="camel"):
    """An invoice in a list. `total` is a decimal string, `sha256` that of the stored document. An amended one
    `amends` the version before; its total is the difference."""

    number: str
    version: int
    contract: str
    customer: str
    billing_period: str
    currency: str
    total: str
    events: int
    issue_date: str
    sha256: str
    amends: str | None


class InvoiceList(msgspec.Struct, frozen=True, rename="camel"):
    """Invoices by number."""

    invoices: list[InvoiceEntry]
    next: str | None = None


class InvoiceDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The stored invoice, `fleetmeter.io/invoice/v1`; these fields and all others are in it."""

    schema: str
    number: str
    version: int
    currency: str
    total: str


def list_invoices(call: Call) -> Response:
    """GET /v1/invoices."""
    limit = call.limit()
    with call.parts.ledger.connection() as connection:
        rows = invoices.listed(
            connection,
            contract=call.text("contract"),
            billing_period=call.text("billingPeriod"),
            after=call.text("after") or "",
            limit=limit,
        )
    entries = [
        InvoiceEntry(
            number=row.number,
            version=row.version,
            contract=row.contract,
            customer=row.customer,
            billing_period=row.billing_period,
            currency=row.currency,
            total=format(row.total, "f"),
            events=row.events,
            issue_date=row.issued_on.isoformat(),
            sha256=row.sha256.hex(),
            amends=row.amends,
        )
        for row in rows
    ]
    return json_response(InvoiceList(entries, entries[-1].number if len(entries) == limit else None))


def show_invoice(call: Call) -> Response:
    """GET /v1/invoices/{number}: the bytes that were sealed."""
    document = _document(call)
    headers = {"ETag": f'"{hashlib.sha256(document).hexdigest()}"', "Cache-Control": "private, no-cache"}
    return Response(document, headers=headers, media_type="application/json")


def show_page(call: Call) -> Response:
    """GET /v1/invoices/{number}/page."""
    return Response(render_page(_document(call)), headers=_PAGE_HEADERS, media_type="text/html")


def _document(call: Call) -> bytes:
    number = call.path["number"]
    with call.parts.ledger.connection() as connection:
        document = invoices.document(connection, number)
    if document is None:
        raise RefusalError(404, "no invoice has this number", "List the numbers with GET /v1/invoices.")
    return document
