"""The seal of a contract period: summed, checked, priced, invoiced and final in one transaction."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fleetmeter_api.contract import Seller
from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.contracts import Terms
from fleetmeter_rules.invoice import DeviceUsage, Heading, Invoice, Snapshot, canonical_bytes, draw_up
from fleetmeter_rules.pricing import version_for
from fleetmeter_rules.seal import Digest, SealedRow
from fleetmeter_workers.close.plans import DataError
from fleetmeter_workers.ledger import events, invoices, periods, usage
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import DeviceSum
from fleetmeter_workers.ledger.invoices import NewInvoice
from fleetmeter_workers.ledger.periods import ContractPeriod


@dataclass(frozen=True, slots=True)
class Book:
    """What the close knows beside the ledger's rows: the region, its contracts, plans and seller."""

    region: Region
    contracts: ContractBook
    plans: Mapping[str, PlanDocument]
    seller: Seller


def seal(connection: Connection, book: Book, period_id: int) -> str | None:
    """Seal the period and write its invoice, in one transaction; the number, or None if it was final before.

    A final period is verified instead. Raises DataError where sums, plan or a stored invoice are wrong.
    """
    with connection.transaction():
        period = periods.lock_for_seal(connection, period_id)
        if period.phase == "final":
            _verify(connection, period)
            return None
        sums = events.device_sums(connection, period_id)
        _reconcile(connection, period, sums)
        snapshot = _snapshot(connection, period_id)
        number = invoices.next_number(connection, book.region.spec.invoicing.series)
        invoice = _invoice(book, period, number, sums, snapshot)
        document = canonical_bytes(invoice)
        invoices.add(
            connection,
            NewInvoice(
                number=number,
                contract=period.contract,
                period_id=period_id,
                version=invoice.heading.version,
                billing_period=period.billing_period,
                currency=invoice.heading.currency,
                total=invoice.total,
                events=invoice.events,
                document=document,
                sha256=hashlib.sha256(document).digest(),
                issued_on=invoice.issue_date,
            ),
        )
        periods.set_phase(connection, period_id, "final")
    return number


def _invoice(
    book: Book, period: ContractPeriod, number: str, sums: Sequence[DeviceSum], snapshot: Snapshot
) -> Invoice:
    contract = book.contracts.version(period.contract, period.cutoff_at).contract
    plan = book.plans.get(contract.plan)
    if plan is None:
        raise DataError(f"plan {contract.plan} is not among the published plans; apply the PricingPlan")
    bounds = Bounds(period.starts_at, period.ends_at, period.starts_at.date())
    try:
        version = version_for(plan.spec, bounds)
        return draw_up(
            _heading(book, period, plan, bounds, number),
            version,
            {metric.code: metric.unit for metric in book.region.spec.metrics},
            [DeviceUsage(s.alias, s.metric, s.quantity, s.events, s.first_event, s.last_event) for s in sums],
            snapshot,
        )
    except (ValueError, ArithmeticError) as error:
        raise DataError(f"plan {plan.name} does not price this period: {error}") from error


def _heading(book: Book, period: ContractPeriod, plan: PlanDocument, bounds: Bounds, number: str) -> Heading:
    terms: Terms = book.contracts.terms(period.contract, period.cutoff_at)
    contract = book.contracts.version(period.contract, period.cutoff_at).contract
    return Heading(
        number=number,
        series=book.region.spec.invoicing.series,
        region=book.region.name,
        jurisdiction=book.region.spec.jurisdiction,
        currency=plan.spec.currency,
        seller=book.seller,
        customer=contract.customer,
        contract=period.contract,
        plan=plan.name,
        plan_hash=plan.content_hash,
        billing_period=period.billing_period,
        period=bounds,
        time_zone=terms.calendar.zone,
        cut_off=period.cutoff_at,
        grace=period.cutoff_at - period.ends_at,
        late_usage=period.late_usage,
    )


def _reconcile(connection: Connection, period: ContractPeriod, sums: Sequence[DeviceSum]) -> None:
    """Rows against roll-ups, once, before anything is priced."""
    by_metric: dict[str, tuple[int, Decimal]] = {}
    for each in sums:
        count, quantity = by_metric.get(each.metric, (0, Decimal(0)))
        by_metric[each.metric] = (count + each.events, quantity + each.quantity)
    hours = {
        each.metric: (each.events, each.quantity) for each in usage.metric_sums(connection, period.period_id)
    }
    wrong = sorted(name for name in {*by_metric, *hours} if by_metric.get(name) != hours.get(name))
    if wrong:
        raise DataError(
            f"the hourly sums of a contract period of {period.billing_period} differ from its rows in "
            f"{', '.join(wrong)}"
        )
    counted = periods.count_of(connection, period.period_id).events
    rows = sum(each.events for each in sums)
    if counted != rows:
        raise DataError(
            f"a contract period of {period.billing_period} counts {counted} billed events, but has {rows} "
            "rows"
        )


def _snapshot(connection: Connection, period_id: int) -> Snapshot:
    digest = Digest()
    for row in events.billed(connection, period_id):
        digest.add(SealedRow(row.alias, row.event_id, row.metric, row.quantity, row.event_at))
    return Snapshot(digest.events, digest.text())


def _verify(connection: Connection, period: ContractPeriod) -> None:
    """A final period still is what its last invoice says it was."""
    written = invoices.of_period(connection, period.period_id)
    if not written:
        raise DataError(f"a contract period of {period.billing_period} is final but has no invoice")
    for _, text, digest in written:
        if hashlib.sha256(text).digest() != digest:
            raise DataError(f"a stored invoice of {period.billing_period} differs from its own hash")
    document: dict[str, Any] = json.loads(written[-1][1])
    snapshot = _snapshot(connection, period.period_id)
    if document["snapshot"] != {"events": snapshot.events, "digest": snapshot.digest}:
        raise DataError(
            f"the rows of a final contract period of {period.billing_period} are not those invoiced"
        )
