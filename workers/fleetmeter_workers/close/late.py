"""Late usage at the close: the earlier periods that an invoice bills, and what was billed of them so far."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Any

from fleetmeter_api.plan import PlanDocument, PlanVersion
from fleetmeter_api.region import Region
from fleetmeter_rules.adjustment import LatePeriod
from fleetmeter_rules.instant import rfc3339
from fleetmeter_rules.number import EXACT
from fleetmeter_rules.usage import DeviceUsage
from fleetmeter_workers.close.period_rows import as_usage, bounds_of, merged, own_usage
from fleetmeter_workers.close.plans import DataError
from fleetmeter_workers.ledger import invoices, late_usage, periods
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import DeviceSum
from fleetmeter_workers.ledger.late_usage import LateSum
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.metering import measure

Document = Mapping[str, Any]


class NotYetError(Exception):
    """The period has to wait; the message says for what, and holds nothing about a customer."""


def late_periods(
    connection: Connection,
    region: Region,
    plans: Mapping[str, PlanDocument],
    period: ContractPeriod,
    entries: Sequence[LateSum],
    currency: str,
) -> list[LatePeriod]:
    """The earlier periods whose usage this one's invoice bills, by its entries of late usage, oldest first.
    In the seal's transaction.

    Raises NotYetError while one of them has no invoice yet, and DataError where it was priced in another
    currency or by a plan version that is not published any more.
    """
    by_period = {
        number: list(own)
        for number, own in groupby(entries, key=lambda each: each.period_id)
        if number != period.period_id
    }
    return [
        _late_period(connection, region, plans, period, currency, earlier, by_period[earlier.period_id])
        for earlier in periods.of_ids(connection, by_period)
    ]


def _late_period(
    connection: Connection,
    region: Region,
    plans: Mapping[str, PlanDocument],
    period: ContractPeriod,
    currency: str,
    earlier: ContractPeriod,
    sums: Sequence[LateSum],
) -> LatePeriod:
    if earlier.phase != "final":
        raise NotYetError(
            f"WaitingForOlder: late usage of {earlier.billing_period} is billed in "
            f"{period.billing_period}; that one must be final first"
        )
    last = json.loads(invoices.of_period(connection, earlier.period_id)[-1].document)
    if last["currency"] != currency:
        raise DataError(
            f"late usage of {earlier.billing_period} was priced in {last['currency']} and cannot stand on an "
            f"invoice of {period.billing_period} in {currency}; a contract that may change its currency "
            "needs lateUsage Reopen"
        )
    return LatePeriod(
        billing_period=earlier.billing_period,
        period=bounds_of(earlier),
        plan=_plan_version(plans, last["plan"]),
        booked=_booked_usage(connection, region, earlier),
        amounts=_booked_amounts(connection, earlier, last),
        late=_late_usage(connection, region, period, earlier, sums),
        contract=earlier.contract,
        invoice=last["number"],
    )


def _plan_version(plans: Mapping[str, PlanDocument], named: Document) -> PlanVersion:
    plan = plans.get(named["name"])
    for version in plan.spec.versions if plan is not None else ():
        if version.version == named["version"]:
            return version
    raise DataError(
        f"version {named['version']} of plan {named['name']}, which priced an earlier period, is not "
        "among the published plans; apply the PricingPlan with it"
    )


def _booked_usage(connection: Connection, region: Region, earlier: ContractPeriod) -> list[DeviceUsage]:
    """Its usage on its own invoice's last version, and on other invoices' adjustments."""
    entries = late_usage.entries(connection, earlier.period_id)
    found = own_usage(connection, region, earlier, earlier.revision, entries)
    for other in periods.of_ids(connection, late_usage.adjusted_by(connection, earlier.period_id)):
        entries = late_usage.entries(connection, other.period_id)
        of_earlier = [each for each in entries if each.period_id == earlier.period_id]
        found += _late_usage(connection, region, other, earlier, of_earlier)
    return found


def _booked_amounts(connection: Connection, earlier: ContractPeriod, last: Document) -> dict[str, Decimal]:
    """What was invoiced for it by charge, on its own invoice's last version and as adjustments on others."""
    found: dict[str, Decimal] = {}
    entries = [*last["lines"]]
    for period_id in late_usage.adjusted_by(connection, earlier.period_id):
        document = json.loads(invoices.of_period(connection, period_id)[0].document)
        entries += [each for each in document["adjustments"] if _is_of(each, earlier)]
    with localcontext(EXACT):
        for each in entries:
            amount = Decimal(each["amount"])
            found[each["charge"]] = found.get(each["charge"], Decimal(0)) + amount
    return found


def _is_of(adjustment: Document, period: ContractPeriod) -> bool:
    named = (adjustment["contract"], adjustment["start"])
    return named == (period.contract, rfc3339(period.starts_at))


def _late_usage(
    connection: Connection,
    region: Region,
    period: ContractPeriod,
    earlier: ContractPeriod,
    sums: Sequence[LateSum],
) -> list[DeviceUsage]:
    """What the period's invoice bills of the earlier one, added and taken back apart, each measured by its
    metric's kind."""
    found: list[DeviceSum] = []
    for credit in (False, True):
        own = merged(each.sum for each in sums if each.credit is credit)
        if own:
            found += measure.measured_sums(connection, region, period, own, bounds_of(earlier))
    return as_usage(found)
