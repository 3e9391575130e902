"""Reviews: billed events that may belong to a neighbouring period, and what a person decides about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
import psycopg
from starlette.responses import Response

from fleetmeter_rules.boundary import Edge, edges
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.event_time import TimeMethod
from fleetmeter_rules.number import plain
from fleetmeter_rules.ownership import owner_at
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import boundaries, contracts, periods, registry
from fleetmeter_workers.ledger.boundaries import Candidate
from fleetmeter_workers.ledger.contract_book import ContractBook, PeriodTerms
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.registry import Device

MOST_BYTES = 1024 * 1024
_MOST_EVENTS = 10_000
_MICROSECOND = timedelta(microseconds=1)
_SEND = 'Send {"billingPeriod": …} and maybe contract and events.'
_NAME_IT = "Name a billing period like eu-202301; GET /status and `kubectl get billingperiods` list them."


class Neighbour(msgspec.Struct, frozen=True, rename="camel"):
    """A contract period that the event may belong to as well, start <= t < end; `edge` says which side."""

    edge: Literal["previous", "next"]
    billing_period: str
    start: datetime
    end: datetime


class Decision(msgspec.Struct, frozen=True, rename="camel"):
    """What was decided about an event, by whom and when; `movedTo` is a billing period."""

    decision: Literal["accepted", "moved"]
    moved_to: str | None
    actor: str
    decided_at: datetime


class ReviewEntry(msgspec.Struct, frozen=True, rename="camel"):
    """An event in doubt: it happened within `uncertaintySeconds` of `eventAt`, which is how it was booked."""

    id: str
    device: str
    reference: str
    contract: str
    event_at: datetime
    uncertainty_seconds: int
    method: str
    metric: str
    quantity: str
    billing_period: str
    start: datetime
    end: datetime
    neighbours: list[Neighbour]
    decision: Decision | None


class ReviewList(msgspec.Struct, frozen=True, rename="camel"):
    """Events in doubt by device; `candidates` and `undecided` count the whole billing period's."""

    candidates: int
    undecided: int
    events: list[ReviewEntry]
    next: str | None = None


class AcceptRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Leave events as booked: these, or all of the billing period (of the contract) that nobody decided."""

    billing_period: str
    contract: str | None = None
    events: list[UUID] | None = None


class MoveRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Bill events in the neighbouring contract period instead; `to` where they may belong to either one."""

    billing_period: str
    contract: str | None = None
    events: list[UUID] | None = None
    to: Edge | None = None


class ReviewResult(msgspec.Struct, frozen=True, rename="camel"):
    """What was decided just now, what had been decided so before, and what is left in the billing period."""

    decided: int
    unchanged: int
    undecided: int


@dataclass(frozen=True, slots=True)
class _Docket:
    """What candidates are looked at with: their periods, contracts and devices."""

    periods: dict[int, ContractPeriod]
    names: dict[int, str]
    book: ContractBook
    devices: dict[str, Device]

    def edges(self, each: Candidate) -> tuple[Edge, ...]:
        """The sides on which the event may belong to another period."""
        return edges(each.event_at, each.uncertainty, self.bounds(each))

    def bounds(self, each: Candidate) -> Bounds:
        """Of the period that it was booked in."""
        own = self.periods[each.period_id]
        return Bounds(own.starts_at, own.ends_at, own.starts_at.date())

    def neighbour(self, each: Candidate, edge: Edge) -> PeriodTerms | None:
        """The contract period behind the edge, of the same customer; None where there is none."""
        own = self.periods[each.period_id]
        instant = own.starts_at - _MICROSECOND if edge is Edge.PREVIOUS else own.ends_at
        if owner_at(self.devices[each.uid].bindings, instant) != own.customer:
            return None
        match = self.book.match(own.customer, instant, each.received_at)
        return None if match is None else match.period


def list_reviews(call: Call) -> Response:
    """GET /v1/reviews."""
    name, limit = _billing_period(call.text("billingPeriod")), call.limit()
    with call.parts.ledger.connection() as connection:
        rows = periods.of_billing_period(connection, name)
        found = boundaries.listed(
            connection,
            name,
            contract=call.text("contract"),
            after=_after(call.text("after")),
            limit=limit,
            undecided=call.text("decided") != "true",
        )
        docket = _docket(connection, call, rows, found)
        counts = periods.total_of(connection, name)
    last = found[-1] if len(found) == limit else None
    entries = [_entry(each, docket) for each in found]
    token = None if last is None else f"{last.period_id}.{last.event_key}"
    return json_response(ReviewList(counts.boundary, counts.boundary - counts.reviewed, entries, token))


def accept(call: Call) -> Response:
    """POST /v1/reviews/accept."""
    wish = call.wish(AcceptRequest, _SEND)
    name = _billing_period(wish.billing_period)
    with call.parts.ledger.connection() as connection:
        if wish.events is None:
            # One by one, so that no consumer waits longer than for one of them.
            found = boundaries.undecided_periods(connection, name, wish.contract)
            decided = sum(_decide(connection, period, None, None, call.actor) for period in found)
            return json_response(_result(connection, name, decided, None))
        with connection.transaction():
            chosen = _chosen(connection, name, wish.contract, wish.events)
            _refuse_other(chosen, {each.event_key: None for each in chosen})
            keys = _by_period(chosen)
            decided = sum(_decide(connection, one, keys[one], None, call.actor) for one in sorted(keys))
        return json_response(_result(connection, name, decided, wish.events))


def move(call: Call) -> Response:
    """POST /v1/reviews/move."""
    wish = call.wish(MoveRequest, _SEND)
    name = _billing_period(wish.billing_period)
    with call.parts.ledger.connection() as connection, connection.transaction():
        if wish.events is not None:
            chosen = _chosen(connection, name, wish.contract, wish.events)
        else:
            chosen = boundaries.listed(connection, name, wish.contract, limit=_MOST_EVENTS, undecided=True)
        docket = _docket(connection, call, periods.of_billing_period(connection, name), chosen)
        targets = {each.event_key: _target(each, wish.to, docket) for each in chosen}
        ids = _rows_of(connection, set(targets.values()))
        _refuse_other(chosen, {key: ids[terms.key].period_id for key, terms in targets.items()})
        decided = 0
        for terms in sorted(set(targets.values()), key=lambda terms: terms.key):
            target = ids[terms.key]
            if target.phase != "open":
                raise RefusalError(
                    409,
                    f"the neighbouring period {terms.billing_period} of contract {terms.contract} is final",
                    "Its invoice is sent and takes no more usage: accept the events as booked.",
                )
            here = _by_period([each for each in chosen if targets[each.event_key] == terms])
            for period in sorted(here):
                decided += _decide(connection, period, here[period], target.period_id, call.actor)
        return json_response(_result(connection, name, decided, [each.event_key for each in chosen]))


def _billing_period(name: str | None) -> str:
    if name is None:
        raise RefusalError(400, "no billing period is named", _NAME_IT)
    return name


def _after(token: str | None) -> tuple[int, UUID] | None:
    if token is None:
        return None
    period, _, key = token.partition(".")
    try:
        return int(period), UUID(key)
    except ValueError:
        raise RefusalError(400, "after names no event", "Take it from `next` of the page before.") from None


def _docket(
    connection: Connection, call: Call, rows: Sequence[ContractPeriod], found: Sequence[Candidate]
) -> _Docket:
    booked = {each.period_id for each in found}
    own = {row.period_id: row for row in rows if row.period_id in booked}
    customers = {row.customer for row in own.values()}
    moved = {each.moved_to for each in found if each.moved_to is not None}
    return _Docket(
        periods=own,
        names=periods.billing_periods_of(connection, moved),
        book=ContractBook(call.parts.region, contracts.of_customers(connection, customers)),
        devices=registry.find_devices(connection, {each.uid for each in found}),
    )


def _entry(each: Candidate, docket: _Docket) -> ReviewEntry:
    own = docket.periods[each.period_id]
    neighbours = [(edge, docket.neighbour(each, edge)) for edge in docket.edges(each)]
    return ReviewEntry(
        id=str(each.event_key),
        device=each.alias,
        reference=each.reference,
        contract=own.contract,
        event_at=each.event_at,
        uncertainty_seconds=each.uncertainty // timedelta(seconds=1),
        method=TimeMethod(each.time_method).name.lower(),
        metric=each.metric,
        quantity=plain(each.quantity),
        billing_period=own.billing_period,
        start=own.starts_at,
        end=own.ends_at,
        neighbours=[
            Neighbour(edge.value, terms.billing_period, terms.bounds.start, terms.bounds.end)
            for edge, terms in neighbours
            if terms is not None
        ],
        decision=_decision(each, docket),
    )


def _decision(each: Candidate, docket: _Docket) -> Decision | None:
    if each.actor is None or each.decided_at is None:
        return None
    if each.moved_to is None:
        return Decision("accepted", None, each.actor, each.decided_at)
    return Decision("moved", docket.names[each.moved_to], each.actor, each.decided_at)


def _chosen(
    connection: Connection, name: str, contract: str | None, events: Sequence[UUID]
) -> list[Candidate]:
    """The named events. Raises RefusalError for one that is no candidate of the billing period."""
    wanted = set(events)
    if len(wanted) > _MOST_EVENTS:
        raise RefusalError(413, f"more than {_MOST_EVENTS:,} events are named", "Send them in several parts.")
    rows = periods.of_billing_period(connection, name)
    own = {row.period_id for row in rows if contract in (None, row.contract)}
    found = [each for each in boundaries.named(connection, sorted(wanted)) if each.period_id in own]
    strangers = sorted(wanted - {each.event_key for each in found})
    if strangers:
        raise RefusalError(
            404,
            f"{strangers[0]} is no event in doubt of {name}",
            "Take ids from `fleetmeter review list`; nothing was decided.",
        )
    return found


def _target(each: Candidate, to: Edge | None, docket: _Docket) -> PeriodTerms:
    """Where the event moves. Raises RefusalError where that is not one period."""
    sides = docket.edges(each)
    if to is None and len(sides) > 1:
        raise RefusalError(
            409, f"{each.reference} may belong to either neighbour", "Say `to`: previous or next."
        )
    side = to or next(iter(sides), Edge.NEXT)
    if side not in sides:
        raise RefusalError(
            409,
            f"{each.reference} cannot have happened in the {side} period: its uncertainty does not reach it",
            "Leave it out, or move it to the other side.",
        )
    terms = docket.neighbour(each, side)
    if terms is None:
        raise RefusalError(
            409,
            f"the device of {each.reference} had no contract with this customer in the {side} period, or the "
            "region did not bill then",
            "Accept the event as booked.",
        )
    if each.received_at >= terms.cut_off:
        raise RefusalError(
            409,
            f"{each.reference} was received after the cut-off of the {side} period: it would be late usage "
            "there",
            "Accept the event as booked.",
        )
    return terms


def _rows_of(connection: Connection, wanted: set[PeriodTerms]) -> dict[tuple[str, datetime], ContractPeriod]:
    customers = registry.find_customers(connection, {terms.customer for terms in wanted})
    periods.ensure(connection, wanted, customers)
    return periods.find(connection, (terms.key for terms in wanted))


def _refuse_other(chosen: Sequence[Candidate], targets: dict[UUID, int | None]) -> None:
    """Raises RefusalError for an event that was decided otherwise: a decision is made once."""
    for each in chosen:
        if each.actor is not None and each.moved_to != targets[each.event_key]:
            was = "accepted as booked" if each.moved_to is None else "moved"
            raise RefusalError(
                409,
                f"{each.reference} was {was} by {each.actor} already",
                "An event is decided once; leave it out. Nothing was decided now.",
            )


def _by_period(chosen: Sequence[Candidate]) -> dict[int, list[UUID]]:
    """The keys of those that nobody has decided yet, by the period that they are booked in."""
    undecided = [each for each in chosen if each.actor is None]
    return {
        period: [each.event_key for each in undecided if each.period_id == period]
        for period in {each.period_id for each in undecided}
    }


def _decide(
    connection: Connection, period_id: int, keys: list[UUID] | None, moved_to: int | None, actor: str
) -> int:
    try:
        return boundaries.decide(connection, period_id, keys, moved_to, actor)
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        raise RefusalError(
            409,
            "the period is final, and what its invoice was made of stays",
            "Nothing is left to decide for it; `fleetmeter invoices list` shows its invoice.",
        ) from error
    except psycopg.errors.LockNotAvailable as error:
        raise RefusalError(
            503, "the period is being sealed at the moment", "Try again in a minute."
        ) from error


def _result(connection: Connection, name: str, decided: int, named: Sequence[UUID] | None) -> ReviewResult:
    counts = periods.total_of(connection, name)
    unchanged = 0 if named is None else len(set(named)) - decided
    return ReviewResult(decided, unchanged, counts.boundary - counts.reviewed)
