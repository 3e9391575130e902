"""Reviews: billed events that may belong to a neighbouring period, and what a person decides about them."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import msgspec
import psycopg
from starlette.responses import Response

from fleetmeter_rules.boundary import Edge
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.docket import Docket, ReviewEntry, docket
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import boundaries, periods, registry
from fleetmeter_workers.ledger.boundaries import Candidate
from fleetmeter_workers.ledger.contract_book import PeriodTerms
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod

MOST_BYTES = 1024 * 1024
_MOST_EVENTS = 10_000
_SEND = 'Send {"billingPeriod": …} and maybe contract and events.'
_NAME_IT = "Name a billing period like eu-202301; GET /status and `kubectl get billingperiods` list them."


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


class UndoRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Take back what was decided about these events, so that each waits for a decision again."""

    billing_period: str
    events: list[UUID]


class ReviewResult(msgspec.Struct, frozen=True, rename="camel"):
    """How many events were decided (or their decisions taken back) just now, how many had been so before, and
    how many of the billing period are undecided then."""

    decided: int
    unchanged: int
    undecided: int


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
        shown = docket(connection, call.parts.region, rows, found)
        counts = periods.total_of(connection, name)
    last = found[-1] if len(found) == limit else None
    entries = [shown.entry(each) for each in found]
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
        rows = periods.of_billing_period(connection, name)
        looked_at = docket(connection, call.parts.region, rows, chosen)
        targets = {each.event_key: _target(each, wish.to, looked_at) for each in chosen}
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


def undo(call: Call) -> Response:
    """POST /v1/reviews/undo."""
    wish = call.wish(UndoRequest, 'Send {"billingPeriod": …, "events": […]}.')
    name = _billing_period(wish.billing_period)
    if not wish.events:
        raise RefusalError(400, "no event is named", "Take ids from `fleetmeter review list --decided`.")
    with call.parts.ledger.connection() as connection, connection.transaction():
        chosen = _chosen(connection, name, None, wish.events)
        keys = [each.event_key for each in chosen]
        history = boundaries.history(connection, keys)
        never = [each.reference for each in chosen if each.event_key not in history]
        if never:
            raise RefusalError(
                409,
                f"nothing was decided about {never[0]}",
                "Leave it out; no decision was taken back.",
            )
        with _open_periods():
            undone = boundaries.undo(connection, keys, call.actor)
        return json_response(_result(connection, name, undone, keys))


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


def _target(each: Candidate, to: Edge | None, looked_at: Docket) -> PeriodTerms:
    """Where the event moves. Raises RefusalError where that is not one period."""
    sides = looked_at.edges(each)
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
    terms = looked_at.neighbour(each, side)
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
    """Raises RefusalError for an event that was decided otherwise: that is taken back first."""
    for each in chosen:
        if each.actor is not None and each.moved_to != targets[each.event_key]:
            was = "accepted as booked" if each.moved_to is None else "moved"
            raise RefusalError(
                409,
                f"{each.reference} was {was} by {each.actor} already",
                "Leave it out, or take that back first (`fleetmeter review undo`). Nothing was decided now.",
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
    with _open_periods():
        return boundaries.decide(connection, period_id, keys, moved_to, actor)


@contextmanager
def _open_periods() -> Generator[None]:
    """What the ledger refuses to decide, as a refusal."""
    try:
        yield
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        said = error.diag
        raise RefusalError(409, said.message_primary or str(error), said.message_hint or "") from error
    except psycopg.errors.LockNotAvailable as error:
        raise RefusalError(
            503, "the period is being sealed at the moment", "Try again in a minute."
        ) from error


def _result(connection: Connection, name: str, decided: int, named: Sequence[UUID] | None) -> ReviewResult:
    counts = periods.total_of(connection, name)
    unchanged = 0 if named is None else len(set(named)) - decided
    return ReviewResult(decided, unchanged, counts.boundary - counts.reviewed)
