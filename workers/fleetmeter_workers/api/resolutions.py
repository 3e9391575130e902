"""Resolutions: rows of the quarantine that a person has billed, credited, written off or called copies."""

from datetime import datetime
from typing import Annotated

import msgspec
from starlette.responses import Response

from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.quarantine import SetAsideDetail, describe, row_id
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.api.resolution import Order, Wish, resolve

MOST_BYTES = 64 * 1024
_MOST_ROWS = 1000
_Note = Annotated[str, msgspec.Meta(max_length=500)] | None
_Instant = Annotated[datetime, msgspec.Meta(tz=True)] | None


class ResolveRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What becomes of one row. `eventAt`: when it happened, for a row whose message does not say it."""

    resolution: Wish
    note: _Note = None
    event_at: _Instant = None


class ResolveManyRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What becomes of many rows, each for itself."""

    ids: Annotated[list[int], msgspec.Meta(min_length=1, max_length=_MOST_ROWS)]
    resolution: Wish
    note: _Note = None


class NotResolved(msgspec.Struct, frozen=True, rename="camel"):
    """A row that stays as it was, and why."""

    id: int
    error: str
    remedy: str


class ResolutionResult(msgspec.Struct, frozen=True, rename="camel"):
    """How many rows were resolved just now, and those that were not."""

    resolved: int
    refused: list[NotResolved]


def resolve_one(call: Call) -> Response:
    """POST /v1/quarantine/{id}/resolve."""
    number = row_id(call.path["id"])
    wish = call.wish(ResolveRequest, 'Send {"resolution": "write-off"}.')
    order = Order(wish.resolution, call.actor, wish.note, wish.event_at)
    with call.parts.ledger.connection() as connection:
        kept = resolve(connection, call.parts.region, number, order)
        with connection.transaction():
            answer: SetAsideDetail = describe(connection, call.parts.region, kept)
    return json_response(answer)


def resolve_many(call: Call) -> Response:
    """POST /v1/quarantine/resolve. A row that can't be resolved stops no other."""
    wish = call.wish(ResolveManyRequest, 'Send {"ids": [1], "resolution": "write-off"}.')
    order = Order(wish.resolution, call.actor, wish.note)
    refused: list[NotResolved] = []
    ids = sorted(set(wish.ids))
    with call.parts.ledger.connection() as connection:
        for number in ids:
            try:
                resolve(connection, call.parts.region, number, order)
            except RefusalError as refusal:
                refused.append(NotResolved(number, refusal.error, refusal.remedy))
    return json_response(ResolutionResult(len(ids) - len(refused), refused))
