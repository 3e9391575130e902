"""The seal of a contract period: summed, checked, priced, invoiced and final in one transaction."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fleetmeter_api.contract import Contract, Seller
from fleetmeter_api.plan import PlanDocument, PlanVersion
from fleetmeter_api.region import Region
from fleetmeter_rules.contracts import Terms
from fleetmeter_rules.invoice import Amends, Heading, Invoice, canonical_bytes, draw_up
from fleetmeter_rules.pricing import version_for
from fleetmeter_workers.close.late import NotYetError, late_periods
from fleetmeter_workers.close.period_rows import bounds_of, own_usage, reconcile, snapshot
from fleetmeter_workers.close.plans import DataError
from fleetmeter_workers.ledger import doubts, invoices, late_usage, periods
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.invoices import NewInvoice, SealedInvoice
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.reopenings import Reopening


@dataclass(frozen=True, slots=True)
class Book:
    """What the close knows beside the ledger's rows: the region, its contracts, plans and seller."""

    region: Region
    contracts: ContractBook
    plans: Mapping[str, PlanDocument]
    seller: Seller

    def contract(self, period: ContractPeriod) -> Contract:
        """The version of the period's contract that prices it."""
        return self.contracts.version(period.contract, period.cutoff_at).contract

    def plan(self, period: ContractPeriod) -> PlanDocument:
        """The plan of the period's contract. Raises DataError where it is not published."""
        name = self.contract(period).plan
        plan = self.plans.get(name)
        if plan is None:
            raise DataError(f"plan {name} is not among the published plans; apply the PricingPlan")
        return plan

    @property
    def units(self) -> dict[str, str]:
        """The unit of each metric."""
        return {metric.code: metric.unit for metric in self.region.spec.metrics}


def seal(connection: Connection, book: Book, period_id: int) -> str | None:
    """Seal the period and write its invoice, in one transaction; the number, or None if it was final before.

    A final period is verified instead. Raises DataError where sums, plan or a stored invoice are wrong, and
    NotYetError where it waits for a person, or late usage of a period that is not final yet stands on it.
    """
    with connection.transaction():
        period = periods.lock_for_seal(connection, period_id)
        if period.phase == "final":
            _verify(connection, period)
            return None
        # A decision may have been taken back since the period was found ready.
        in_force = book.contracts.version(period.contract, period.cutoff_at)
        ready = doubts.of_period(connection, period_id).awaits([in_force])
        if not ready.sealable:
            raise NotYetError(f"{ready.waiting_for}: {ready.message}")
        entries = late_usage.entries(connection, period_id)
        sums = reconcile(connection, period, entries)
        plan = book.plan(period)
        usage = own_usage(connection, book.region, period, 1, entries, sums)
        late = late_periods(connection, book.region, book.plans, period, entries, plan.spec.currency)
        frozen = snapshot(connection, period_id, 1, adjustments=True)
        number = invoices.next_number(connection, book.region.spec.invoicing.series)
        try:
            heading = _heading(book, period, plan, number, period.cutoff_at)
            version = version_for(plan.spec, bounds_of(period))
            invoice = draw_up(heading, version, book.units, usage, frozen, late)
        except (ValueError, ArithmeticError) as error:
            raise DataError(f"plan {plan.name} does not price this period: {error}") from error
        _write(connection, period, invoice)
        periods.set_phase(connection, period_id, "final")
    return number


def amend(connection: Connection, book: Book, due: Reopening) -> str | None:
    """Seal the next revision of a final period and write its amended invoice, in one transaction; the number,
    or None if it was sealed before.

    The lines are rated again from all rows up to that revision, by the plan version that priced the first
    one; the lines of the invoice before are credited in full, and the total is the difference. Raises
    DataError where sums, plan or a stored invoice are wrong.
    """
    with connection.transaction():
        period = periods.lock_for_seal(connection, due.period_id)
        if period.phase != "final" or period.revision >= due.revision:
            return None
        _verify(connection, period)
        entries = late_usage.entries(connection, due.period_id)
        sums = reconcile(connection, period, entries)
        last = invoices.of_period(connection, due.period_id)[-1]
        before: dict[str, Any] = json.loads(last.document)
        plan = book.plan(period)
        usage = own_usage(connection, book.region, period, due.revision, entries, sums)
        frozen = snapshot(connection, due.period_id, due.revision, adjustments=False)
        number = invoices.next_number(connection, book.region.spec.invoicing.series)
        try:
            heading = _heading(book, period, plan, number, due.due_at, due.revision, _amends(last, before))
            invoice = draw_up(heading, _same_version(plan, before), book.units, usage, frozen)
        except (ValueError, ArithmeticError) as error:
            raise DataError(f"plan {plan.name} does not price this period: {error}") from error
        _write(connection, period, invoice)
        periods.set_revision(connection, due.period_id, due.revision)
    return number


def _amends(last: SealedInvoice, before: Mapping[str, Any]) -> Amends:
    issued = date.fromisoformat(before["issueDate"])
    return Amends(last.number, last.version, issued, Decimal(before["subtotal"]))


def _same_version(plan: PlanDocument, before: Mapping[str, Any]) -> PlanVersion:
    """The version that priced the invoice before, whatever else was published since."""
    named = before["plan"]
    for version in plan.spec.versions:
        if (plan.name, version.version) == (named["name"], named["version"]):
            return version
    raise DataError(
        f"version {named['version']} of plan {named['name']}, which priced the invoice to be amended, is not "
        "among the published plans; apply the PricingPlan with it"
    )


def _write(connection: Connection, period: ContractPeriod, invoice: Invoice) -> None:
    document, head = canonical_bytes(invoice), invoice.heading
    invoices.add(
        connection,
        NewInvoice(
            number=head.number,
            contract=period.contract,
            period_id=period.period_id,
            version=head.version,
            billing_period=period.billing_period,
            currency=head.currency,
            total=invoice.total,
            events=invoice.events,
            document=document,
            sha256=hashlib.sha256(document).digest(),
            issued_on=invoice.issue_date,
            revision=head.revision,
            amends=head.amends.number if head.amends else None,
        ),
    )


def _heading(
    book: Book,
    period: ContractPeriod,
    plan: PlanDocument,
    number: str,
    cut_off: datetime,
    revision: int = 1,
    amends: Amends | None = None,
) -> Heading:
    terms: Terms = book.contracts.terms(period.contract, period.cutoff_at)
    return Heading(
        number=number,
        series=book.region.spec.invoicing.series,
        region=book.region.name,
        jurisdiction=book.region.spec.jurisdiction,
        currency=plan.spec.currency,
        seller=book.seller,
        customer=book.contract(period).customer,
        contract=period.contract,
        plan=plan.name,
        plan_hash=plan.content_hash,
        billing_period=period.billing_period,
        period=bounds_of(period),
        time_zone=terms.calendar.zone,
        cut_off=cut_off,
        grace=period.cutoff_at - period.ends_at,
        late_usage=period.late_usage,
        version=1 if amends is None else amends.version + 1,
        revision=revision,
        amends=amends,
    )


def _verify(connection: Connection, period: ContractPeriod) -> None:
    """A final period still is what each of its invoices says it was."""
    written = invoices.of_period(connection, period.period_id)
    if not written:
        raise DataError(f"a contract period of {period.billing_period} is final but has no invoice")
    for each in written:
        if hashlib.sha256(each.document).digest() != each.sha256:
            raise DataError(f"a stored invoice of {period.billing_period} differs from its own hash")
        found = snapshot(connection, period.period_id, each.revision, adjustments=each.version == 1)
        document: dict[str, Any] = json.loads(each.document)
        if document["snapshot"] != {"events": found.events, "digest": found.digest}:
            raise DataError(
                f"the rows of a final contract period of {period.billing_period} are not those invoiced"
            )
