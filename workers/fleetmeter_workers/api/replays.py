"""Replays: have the consumer read records again that it has decided, and see that it changes nothing."""

from datetime import UTC, datetime, timedelta

import msgspec
from starlette.responses import Response

from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import billing_periods, calendar_of, period_name
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import offsets, replays
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.replays import Replay, Sums
from fleetmeter_workers.queue import Queue, QueueAwayError

MOST_BYTES = 4096
_MOST_LISTED = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIER = timedelta(days=3)
"""A device's clock may be a day ahead, and a contract's zone ahead of the region's: what was received earlier
than this before a period's start belongs to no part of it."""


class ReplayRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Where reading begins again: one of an offset, a receive time (RFC 3339), or a billing period, of which
    everything is read. Without `partition` it is meant for all of them."""

    from_offset: int | None = None
    since: datetime | None = None
    billing_period: str | None = None
    partition: int | None = None


class ReplayPart(msgspec.Struct, frozen=True, rename="camel"):
    """A partition: where reading began again, where it was before, and where it stands now."""

    partition: int
    from_: int = msgspec.field(name="from")
    to: int
    at: int


class ReplayEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A replay. `left`: records still to be read again. Once there are none, `after` has the sums, and
    `addedEvents` and `addedSetAside` tell what came that no new record accounts for: 0, or it is a defect."""

    id: int
    actor: str
    requested_at: datetime
    partitions: list[ReplayPart]
    left: int
    before: Sums
    after: Sums | None = None
    added_events: int = 0
    added_set_aside: int = 0


class ReplayList(msgspec.Struct, frozen=True, rename="camel"):
    """The last hundred replays, newest first, without the sums after them."""

    replays: list[ReplayEntry]


def start(call: Call) -> Response:
    """POST /v1/replays."""
    request = _request(call)
    queue = call.parts.queue
    targets = _targets(request, call.parts.region, queue)
    with call.parts.ledger.connection() as connection:
        before = replays.sums(connection)
        replay = replays.set_back(connection, queue.topic, targets, call.actor, before)
        if replay is None:
            stands = offsets.read_offsets(connection, queue.topic)
            told = ", ".join(f"partition {p} stands at {stands[p].next_offset}" for p in sorted(stands))
            raise RefusalError(
                409,
                f"nothing has been read from there on ({told or 'nothing at all was read yet'})",
                "Name an earlier offset or time; what was not read yet needs no replay.",
            )
        return json_response(_entry(replay, _stands(connection, queue)))


def show(call: Call) -> Response:
    """GET /v1/replays/{id}."""
    text = call.path["id"]
    with call.parts.ledger.connection() as connection:
        known = text.isascii() and text.isdigit() and len(text) <= 18
        replay = replays.find(connection, int(text)) if known else None
        if replay is None:
            raise RefusalError(404, "the region has no replay of this id", "List them with GET /v1/replays.")
        entry = _entry(replay, _stands(connection, call.parts.queue))
        if entry.left:
            return json_response(entry)
        after = replays.sums(connection)
    events, set_aside = replay.sums.added_uncounted(after)
    return json_response(
        msgspec.structs.replace(entry, after=after, added_events=events, added_set_aside=set_aside)
    )


def list_replays(call: Call) -> Response:
    """GET /v1/replays."""
    with call.parts.ledger.connection() as connection:
        stands = _stands(connection, call.parts.queue)
        found = replays.latest(connection, _MOST_LISTED)
    return json_response(ReplayList([_entry(each, stands) for each in found]))


def _request(call: Call) -> ReplayRequest:
    remedy = (
        'Send one of {"fromOffset": 0}, {"since": "2023-01-31T00:00:00Z"}, {"billingPeriod": "eu-202301"}.'
    )
    request = call.wish(ReplayRequest, remedy)
    if sum(each is not None for each in (request.from_offset, request.since, request.billing_period)) != 1:
        raise RefusalError(400, "the body names not exactly one of offset, time and period", remedy)
    if request.since is not None and request.since.tzinfo is None:
        raise RefusalError(400, "since has no zone", "Write it like 2023-01-31T00:00:00Z.")
    if (request.from_offset or 0) < 0:
        raise RefusalError(400, "fromOffset is negative", "Offsets begin at 0.")
    return request


def _targets(request: ReplayRequest, region: Region, queue: Queue) -> dict[int, int]:
    """The offset that each asked partition is read from again. Raises RefusalError for one that is gone."""
    try:
        ends, begins = queue.ends(), queue.begins()
        if request.partition is not None and request.partition not in ends:
            raise RefusalError(
                404, f"the topic has no partition {request.partition}", f"It has {len(ends)}, from 0."
            )
        asked = sorted(ends) if request.partition is None else [request.partition]
        if request.from_offset is None:
            since = request.since or _period_start(request.billing_period or "", region)
            # Kafka means something else by a negative time, and stamped nothing before 1970.
            found = queue.required(max(since, _EPOCH), ends)
            return {partition: max(found[partition], begins[partition]) for partition in asked}
    except QueueAwayError as error:
        raise RefusalError(
            503,
            "Kafka did not say which records it has, so nothing was set back",
            "Try again in some seconds.",
        ) from error
    for partition in asked:
        if request.from_offset < begins[partition]:
            raise RefusalError(
                409,
                f"Kafka no longer has offset {request.from_offset} of partition {partition}",
                f"The earliest is {begins[partition]}; a time instead of an offset reads all that is left.",
            )
    return dict.fromkeys(asked, request.from_offset)


def _period_start(name: str, region: Region) -> datetime:
    """From when on records can belong to the billing period."""
    spec = region.spec.calendar
    begun = billing_periods(calendar_of(spec), spec.first_period, spec.last_period, datetime.now(UTC))
    for bounds in reversed(begun):
        if period_name(region.name, bounds, spec.interval) == name:
            return bounds.start - _EARLIER
    raise RefusalError(
        404,
        "the region has no billing period of this name that has begun",
        f"The last one is {period_name(region.name, begun[-1], spec.interval)}."
        if begun
        else "None has begun yet.",
    )


def _stands(connection: Connection, queue: Queue) -> dict[int, int]:
    return {p: row.next_offset for p, row in offsets.read_offsets(connection, queue.topic).items()}


def _entry(replay: Replay, stands: dict[int, int]) -> ReplayEntry:
    parts = [
        ReplayPart(partition=p, from_=replay.from_offsets[p], to=to, at=stands.get(p, to))
        for p, to in sorted(replay.to_offsets.items())
    ]
    return ReplayEntry(
        id=replay.replay_id,
        actor=replay.actor,
        requested_at=replay.requested_at,
        partitions=parts,
        left=sum(max(0, part.to - part.at) for part in parts),
        before=replay.sums,
    )
