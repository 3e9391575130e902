"""Invoices: gapless numbers by series, and documents that never change."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from fleetmeter_workers.ledger.database import Connection


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice without its document; `amends` is the number of the version before."""

    number: str
    contract: str
    version: int
    customer: str
    billing_period: str
    currency: str
    total: Decimal
    events: int
    sha256: bytes
    issued_on: date
    amends: str | None


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """An invoice to be written; `document` is its canonical JSON, `revision` that of the rows that it bills,
    `amends` the number of the version before."""

    number: str
    contract: str
    period_id: int
    version: int
    billing_period: str
    currency: str
    total: Decimal
    events: int
    document: bytes
    sha256: bytes
    issued_on: date
    revision: int = 1
    amends: str | None = None


def next_number(connection: Connection, series: str) -> str:
    """Take the series' next number, `EU-000001`; it is given back if the transaction does not commit."""
    row = connection.execute(
        "INSERT INTO fleetmeter.invoice_series AS held (series, next) VALUES (%s, 2) "
        "ON CONFLICT (series) DO UPDATE SET next = held.next + 1 RETURNING next - 1",
        (series,),
    ).fetchone()
    if row is None:
        raise LookupError(f"the series {series} gave no number")
    return f"{series}-{row[0]:06d}"


def add(connection: Connection, new: NewInvoice) -> None:
    """Write the invoice; its customer is its contract period's."""
    connection.execute(
        "INSERT INTO fleetmeter.invoice (number, contract, period_id, version, customer_id, billing_period, "
        "currency, total, events, sha256, document, issued_on, revision, amends) "
        "SELECT %s, %s, period_id, %s, customer_id, %s, %s, %s, %s, %s, %s, %s, %s, %s "
        "FROM fleetmeter.contract_period WHERE period_id = %s",
        (
            new.number,
            new.contract,
            new.version,
            new.billing_period,
            new.currency,
            new.total,
            new.events,
            new.sha256,
            new.document,
            new.issued_on,
            new.revision,
            new.amends,
            new.period_id,
        ),
    )


def listed(
    connection: Connection,
    contract: str | None = None,
    billing_period: str | None = None,
    limit: int = 1000,
    after: str = "",
) -> list[InvoiceRow]:
    """Invoices by number, `limit` of them after `after`; of one contract or billing period if given."""
    rows = connection.execute(
        "SELECT number, contract, version, code, billing_period, currency, total, events, sha256, issued_on, "
        "amends FROM fleetmeter.invoice JOIN fleetmeter.customer USING (customer_id) "
        "WHERE (%(contract)s::text IS NULL OR contract = %(contract)s) "
        "AND (%(period)s::text IS NULL OR billing_period = %(period)s) "
        "AND number > %(after)s ORDER BY number LIMIT %(limit)s",
        {"contract": contract, "period": billing_period, "limit": limit, "after": after},
    ).fetchall()
    return [InvoiceRow(*row) for row in rows]


def document(connection: Connection, number: str) -> bytes | None:
    """The invoice's JSON as it was sealed; None where there is no such number."""
    row = connection.execute(
        "SELECT document FROM fleetmeter.invoice WHERE number = %s", (number,)
    ).fetchone()
    return None if row is None else bytes(row[0])


@dataclass(frozen=True, slots=True)
class SealedInvoice:
    """An invoice as it was sealed: its document, and the revision of the rows that it bills."""

    number: str
    version: int
    revision: int
    document: bytes
    sha256: bytes


def of_period(connection: Connection, period_id: int) -> list[SealedInvoice]:
    """The contract period's invoices, oldest first."""
    rows = connection.execute(
        "SELECT number, version, revision, document, sha256 FROM fleetmeter.invoice WHERE period_id = %s "
        "ORDER BY version",
        (period_id,),
    ).fetchall()
    return [
        SealedInvoice(number, version, revision, bytes(text), bytes(digest))
        for number, version, revision, text, digest in rows
    ]
