"""Backfills: the ranges of history that are or were loaded, and the decision that ends one."""

from datetime import datetime

import msgspec
from starlette.responses import Response

from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import backfills
from fleetmeter_workers.ledger.backfills import Backfill, State
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.queue import QueueAwayError

_LIST = "List the backfills with GET /v1/backfills."


class BackfillEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A backfill of the range [from, to). `endOffsets`: Kafka's end when it was decided, by partition."""

    id: str
    from_: datetime = msgspec.field(name="from")
    to: datetime
    state: State
    end_offsets: dict[int, int] | None
    actor: str | None
    decided_at: datetime | None


class BackfillList(msgspec.Struct, frozen=True, rename="camel"):
    """Every backfill ever asked for, oldest range first."""

    backfills: list[BackfillEntry]


def list_backfills(call: Call) -> Response:
    """GET /v1/backfills."""
    with call.parts.ledger.connection() as connection:
        open_wanted(call, connection)
        found = backfills.all_backfills(connection)
    return json_response(BackfillList([_entry(each) for each in found.values()]))


def complete(call: Call) -> Response:
    """POST /v1/backfills/{id}/complete."""
    return _decide(call, "completed")


def revert(call: Call) -> Response:
    """POST /v1/backfills/{id}/revert."""
    return _decide(call, "reverted")


def open_wanted(call: Call, connection: Connection) -> None:
    """Record the backfill that the spec asks for, so that it can be seen before its first message."""
    wanted = call.parts.region.spec.backfill
    if wanted is not None:
        backfills.open_backfill(connection, wanted.backfill_id, wanted.from_, wanted.to)


def _decide(call: Call, state: State) -> Response:
    """Decide an open backfill; the same decision again changes nothing, the other one is refused."""
    backfill_id = call.path["id"]
    with call.parts.ledger.connection() as connection:
        open_wanted(call, connection)
        known = backfills.all_backfills(connection).get(backfill_id)
        if known is None:
            raise RefusalError(404, "the region has no backfill of this id", _LIST)
        if known.state == "pending":
            known = backfills.decide(connection, backfill_id, state, _ends(call), call.actor) or known
    if known.state != state:
        raise RefusalError(
            409,
            f"the backfill is {known.state} already",
            "Open a backfill of another range in the region's spec.",
        )
    return json_response(_entry(known))


def _ends(call: Call) -> dict[int, int]:
    try:
        return call.parts.queue.ends()
    except QueueAwayError as error:
        raise RefusalError(
            503,
            "Kafka did not say where its partitions end, so nothing was decided",
            "Try again in some seconds; the backfill stays open.",
        ) from error


def _entry(backfill: Backfill) -> BackfillEntry:
    return BackfillEntry(
        id=backfill.backfill_id,
        from_=backfill.range_from,
        to=backfill.range_to,
        state=backfill.state,
        end_offsets=backfill.end_offsets,
        actor=backfill.actor,
        decided_at=backfill.decided_at,
    )
