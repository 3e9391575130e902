"""Resolution: what a person makes of a set-aside row, booked once, in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.instant import rfc3339
from fleetmeter_rules.lateness import amendment
from fleetmeter_workers.api import evidence
from fleetmeter_workers.api.evidence import Evidence
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import (
    contracts,
    late_usage,
    periods,
    quarantine,
    registry,
    reopenings,
    usage,
)
from fleetmeter_workers.ledger.contract_book import ContractBook, PeriodTerms
from fleetmeter_workers.ledger.database import RETRY, Connection
from fleetmeter_workers.ledger.late_usage import LateRow
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.quarantine import Identity, Kept, Resolution
from fleetmeter_workers.ledger.usage import HourSum

Wish = Literal["bill-next", "credit", "write-off", "duplicate"]

_STORED: Final[Mapping[Wish, Resolution]] = {
    "bill-next": "billed_next",
    "credit": "credited",
    "write-off": "written_off",
    "duplicate": "duplicate",
}
_OTHERWISE: Final = "Resolve it as write-off or duplicate, or write a credit note by hand."
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for. `event_at`: when it happened, where the message does not say it for sure."""

    wish: Wish
    actor: str
    note: str | None = None
    event_at: datetime | None = None


def resolve(connection: Connection, region: Region, quarantine_id: int, order: Order) -> Kept:
    """Resolve the row and book what follows from it; the row as it is then.

    Raises RefusalError: 404 for no such row, 409 for one that was resolved before or cannot be resolved so.
    """
    for attempt in range(_TRIES):
        try:
            return _resolve(connection, region, quarantine_id, order)
        except RETRY:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("the last try returns or raises")


def _resolve(connection: Connection, region: Region, quarantine_id: int, order: Order) -> Kept:
    with connection.transaction():
        quarantine.hold(connection, quarantine_id)
        kept = quarantine.kept(connection, quarantine_id)
        if kept is None:
            raise RefusalError(404, "the quarantine has no row of this id", "List them: GET /v1/quarantine.")
        if kept.resolution is not None and kept.resolved_at is not None:
            raise RefusalError(
                409,
                f"row {quarantine_id} was resolved as {kept.resolution} by {kept.resolved_by} at "
                f"{rfc3339(kept.resolved_at)}",
                "A row is resolved once; correct what it led to by another one.",
            )
        if order.wish == "bill-next":
            _bill(connection, region, evidence.read(connection, region, kept), order)
        elif order.wish == "credit":
            _credit(connection, region, kept)
        quarantine.resolve(connection, quarantine_id, _STORED[order.wish], order.actor, order.note)
        return quarantine.kept(connection, quarantine_id) or kept


def _bill(connection: Connection, region: Region, found: Evidence, order: Order) -> None:
    """Book the row as usage of the period in which it happened: in that one while it is open, else in the
    next open one."""
    identity, item = found.kept.identity, found.item
    if item is None or identity is None:
        why = found.why or "the message has no such item"
        raise RefusalError(409, f"there is nothing to bill: {why}", _OTHERWISE)
    if identity.is_billed and not found.kept.conflicts:
        raise RefusalError(409, "the event with this identity is billed already", "Resolve it as duplicate.")
    if found.device is None or not found.device.registered:
        raise RefusalError(
            409,
            "the device is not registered",
            "Register it with its owner (fleetmeter devices import), then resolve.",
        )
    candidate = _candidate(connection, region, found, order)
    if candidate.customer is None:
        raise RefusalError(
            409,
            f"the device belonged to no customer at {rfc3339(candidate.event_at)}",
            "Record its owner from then on (fleetmeter devices import), then resolve.",
        )
    if candidate.match is None:
        raise RefusalError(
            409,
            f"its owner had no contract at {rfc3339(candidate.event_at)}, or the region did not bill yet",
            "Load a contract that holds then, or resolve it as write-off.",
        )
    own = _period(connection, candidate.match.period)
    place = _place(connection, region, own)
    row = LateRow(
        key=identity.key,
        canonical=identity.canonical,
        device_id=found.device.device_id,
        metric_id=_additive_metric(connection, region, item.metric),
        quantity=item.quantity,
        event_at=candidate.event_at,
        received_at=found.kept.received_at,
        period_id=own.period_id,
        booked_period_id=place.period_id,
        revision=place.revision,
        mark=found.mark,
        quarantine_id=found.kept.quarantine_id,
    )
    if not _book(connection, row, late=found.kept.received_at >= own.ends_at):
        raise RefusalError(
            409, "another row with the same content is billed already", "Resolve it as duplicate."
        )


def _candidate(connection: Connection, region: Region, found: Evidence, order: Order) -> evidence.Candidate:
    if found.is_certain:
        if order.event_at not in (None, found.candidates[0].event_at):
            raise RefusalError(
                409,
                f"it is certain that it happened at {rfc3339(found.candidates[0].event_at)}",
                "Leave eventAt out.",
            )
        return found.candidates[0]
    if order.event_at is None:
        raise RefusalError(
            409,
            "nobody knows when it happened",
            "Say when, as eventAt; its candidates are listed with the row.",
        )
    if order.event_at > found.kept.received_at:
        raise RefusalError(409, "eventAt is after the message was received", "Give an earlier one.")
    return evidence.candidate_at(connection, region, found, order.event_at)


def _credit(connection: Connection, region: Region, kept: Kept) -> None:
    """Take back the billed event whose identity the row has, for its content was wrong."""
    first = kept.identity
    if first is None or not kept.conflicts or not first.is_billed:
        raise RefusalError(
            409, "no billed event has this identity, so there is nothing to take back", _OTHERWISE
        )
    row = _taken_back(connection, region, kept.quarantine_id, first)
    if not _book(connection, row, late=True):
        raise RefusalError(
            409, "the event with this identity is taken back already", "Resolve it as duplicate."
        )


def _taken_back(connection: Connection, region: Region, quarantine_id: int, first: Identity) -> LateRow:
    named = (first.period_id, first.booked_period_id, first.metric_id, first.quantity, first.event_at)
    own_id, booked_id, metric_id, quantity, event_at = named
    if own_id is None or booked_id is None or metric_id is None or quantity is None or event_at is None:
        raise AssertionError("a billed event has a period, a metric, a quantity and a time")
    _additive_metric(connection, region, first.metric or "")
    (booked,) = periods.of_ids(connection, [booked_id])
    place = _place(connection, region, booked, amends=own_id == booked_id)
    return LateRow(
        key=first.key,
        canonical=first.canonical,
        device_id=first.device_id,
        metric_id=metric_id,
        quantity=quantity.copy_negate(),
        event_at=event_at,
        received_at=first.received_at,
        period_id=own_id,
        booked_period_id=place.period_id,
        revision=place.revision,
        mark=late_usage.CREDIT,
        quarantine_id=quarantine_id,
    )


def _book(connection: Connection, row: LateRow, *, late: bool) -> bool:
    """Add the entry and its sums; False where it is there already."""
    if not late_usage.add(connection, [row]):
        return False
    hour = row.event_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    usage.add_hours(
        connection, {(row.booked_period_id, row.metric_id, hour): HourSum(1, int(late), row.quantity)}
    )
    periods.count_resolved(connection, row.booked_period_id, late=late)
    return True


def _additive_metric(connection: Connection, region: Region, code: str) -> int:
    declared = {metric.code: metric for metric in region.spec.metrics}.get(code)
    if declared is None:
        raise RefusalError(
            409, f"the region does not declare the metric {code}", "Add it to spec.metrics, then resolve."
        )
    if declared.kind != "Delta":
        raise RefusalError(
            409,
            f"{code} is read and not added up, so one reading has no amount of its own",
            "Resolve it as write-off; a register's next reading holds what this one did.",
        )
    found = registry.find_metrics(connection, [code]).get(code)
    if found is None:
        raise RefusalError(409, f"the ledger does not know the metric {code} yet", "Try again in a minute.")
    return found


def _period(connection: Connection, terms: PeriodTerms) -> ContractPeriod:
    """The contract period's row, made where there is none."""
    customers = registry.find_customers(connection, [terms.customer])
    periods.ensure(connection, [terms], customers)
    return periods.find(connection, [terms.key])[terms.key]


@dataclass(frozen=True, slots=True)
class _Place:
    """Which invoice takes an entry: the first one of a period or, with a higher revision, an amended one."""

    period_id: int
    revision: int = 1


def _place(connection: Connection, region: Region, since: ContractPeriod, *, amends: bool = True) -> _Place:
    """The invoice that takes an entry: of the customer's first open period from `since` on, which stays open
    until the transaction ends. Where that one is final and its contract reopens it, or no other follows, its
    amended invoice, if it `amends`. Raises RefusalError (409) where there is none."""
    if amends and since.phase == "final" and since.late_usage == "Reopen":
        return _amended(connection, region, since)
    for _ in range(_TRIES):
        found = _first_open(connection, region, since.customer, since.starts_at)
        if found is None and amends:
            return _amended(connection, region, since)
        if found is None:
            raise RefusalError(409, "no open contract period follows the one that billed it", _OTHERWISE)
        if periods.hold(connection, [found.period_id])[found.period_id][0] == "open":
            return _Place(found.period_id)
    raise RefusalError(409, "the customer's periods are being closed just now", "Try again in a minute.")


def _amended(connection: Connection, region: Region, own: ContractPeriod) -> _Place:
    """The next amendment of a final period, as usage that comes now would make it."""
    sealed = periods.hold(connection, [own.period_id])[own.period_id][1]
    now = _now(connection)
    versions = contracts.of_customers(connection, [own.customer])
    terms = ContractBook(region, versions).terms(own.contract, now)
    bounds = Bounds(own.starts_at, own.ends_at, own.starts_at.date())
    found = amendment(bounds, now, terms.calendar, terms.grace, sealed)
    reopenings.add(connection, {(own.period_id, found.revision): found.due_at})
    return _Place(own.period_id, found.revision)


def _first_open(
    connection: Connection, region: Region, customer: str, since: datetime
) -> ContractPeriod | None:
    """The customer's oldest contract period from `since` on that is not final; one without a row gets it,
    unless a later one is final."""
    known = periods.of_customer(connection, customer, since)
    final = [row for row in known if row.phase != "open"]
    at = max((row.ends_at for row in final), default=since)
    waiting = [row for row in known if row.phase == "open" and row.starts_at < at]
    if waiting:
        return waiting[0]
    book, now = ContractBook(region, contracts.of_customers(connection, [customer])), _now(connection)
    while at <= now:
        match = book.match(customer, at, now)
        if match is None:
            break
        row = _period(connection, match.period)
        if row.phase == "open":
            return row
        at = match.period.bounds.end
    later = [row for row in known if row.phase == "open"]
    return later[0] if later else None


def _now(connection: Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise LookupError("Postgres told no time")
    return row[0]
