"""The quarantine: what was set aside, with its reason, and how much of it there is."""

from datetime import datetime
from decimal import Decimal

import msgspec
from starlette.responses import Response

from fleetmeter_api.region import Region
from fleetmeter_rules.number import plain
from fleetmeter_rules.time_evidence import TimeEvidence
from fleetmeter_workers.api import evidence
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.evidence import Candidate, Evidence
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import periods, quarantine, usage
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.quarantine import Kept, SetAside

_LIST = "List the ids with GET /v1/quarantine."


class SetAsideEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One message or item that was not billed; `device` is an alias, never a hardware id."""

    id: int
    reason: str
    detail: str
    received_at: datetime
    customer: str | None
    device: str | None
    billing_period: str | None
    adapter: str
    topic: str
    partition: int
    offset: int
    item: int
    late: bool
    bytes: int
    resolution: str | None
    resolved_by: str | None
    resolved_at: datetime | None


class QuarantineList(msgspec.Struct, frozen=True, rename="camel"):
    """Rows in the order they came, and how many are unresolved in all, by reason."""

    counts: dict[str, int]
    quarantine: list[SetAsideEntry]
    next: int | None = None


class Raw(msgspec.Struct, frozen=True, rename="camel"):
    """The record's bytes; `text` where they are UTF-8."""

    bytes: int
    hex: str
    text: str | None


class ContentItem(msgspec.Struct, frozen=True, rename="camel"):
    """One quantity of the message; `kind` is the metric's, null where the region does not declare it;
    `chosen` is the one that this row is about."""

    metric: str
    kind: str | None
    quantity: str
    chosen: bool


class Content(msgspec.Struct, frozen=True, rename="camel"):
    """What the message says, as the adapter of now reads it; the times are the device's own words."""

    device: str
    identity: str
    items: list[ContentItem]
    event_at: datetime | None
    sent_at: datetime | None


class PeriodCandidate(msgspec.Struct, frozen=True, rename="camel"):
    """Where it would be billed if it happened at `eventAt`, by the registry and contracts of now.

    `booked` is the quantity of the item's metric that belongs to the contract period already, wherever it is
    billed: with the plan it gives what this row is worth.
    """

    event_at: datetime
    customer: str | None
    contract: str | None
    plan: str | None
    billing_period: str | None
    start: datetime | None
    end: datetime | None
    is_final: bool
    booked: str


class FirstCopy(msgspec.Struct, frozen=True, rename="camel"):
    """The event that came first under the same identity, and stays as it was decided."""

    event_at: datetime | None
    received_at: datetime
    metric: str | None
    quantity: str | None
    is_billed: bool


class SetAsideDetail(msgspec.Struct, frozen=True, rename="camel"):
    """Everything about one row. `is_certain`: nobody has to say when it happened; then `time_evidence` is how
    far that can be trusted. `unreadable` says why there is no content. `billed_in` and `invoice` say what
    became of one that was billed or credited."""

    id: int
    reason: str
    detail: str
    received_at: datetime
    recorded_at: datetime
    customer: str | None
    billing_period: str | None
    adapter: str
    topic: str
    headers: dict[str, str]
    partition: int
    offset: int
    item: int
    late: bool
    raw: Raw | None
    content: Content | None
    unreadable: str
    is_certain: bool
    time_evidence: TimeEvidence
    candidates: list[PeriodCandidate]
    first: FirstCopy | None
    resolution: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    note: str | None
    billed_in: str | None
    invoice: str | None


def list_quarantine(call: Call) -> Response:
    """GET /v1/quarantine."""
    limit = call.limit()
    after = call.text("after") or "0"
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise RefusalError(
            400, "after is not an id of the quarantine", "Take it from `next` of the page before."
        )
    with call.parts.ledger.connection() as connection:
        counts = quarantine.counts(connection)
        rows = quarantine.listed(
            connection,
            reason=call.text("reason"),
            billing_period=call.text("billingPeriod"),
            device=call.text("device"),
            resolved=call.text("resolved") == "true",
            after=int(after),
            limit=limit,
        )
    entries = [_entry(row) for row in rows]
    return json_response(QuarantineList(counts, entries, entries[-1].id if len(entries) == limit else None))


def show(call: Call) -> Response:
    """GET /v1/quarantine/{id}."""
    number = row_id(call.path["id"])
    with call.parts.ledger.connection() as connection, connection.transaction():
        kept = quarantine.kept(connection, number)
        if kept is None:
            raise RefusalError(404, "the quarantine has no row of this id", _LIST)
        return json_response(describe(connection, call.parts.region, kept))


def row_id(text: str) -> int:
    """The id in a path. Raises RefusalError (404) for what is no number."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise RefusalError(404, "an id of the quarantine is a number", _LIST)
    return int(text)


def describe(connection: Connection, region: Region, kept: Kept) -> SetAsideDetail:
    """Everything about the row, by the registry and contracts of now."""
    found = evidence.read(connection, region, kept)
    booked = quarantine.booked_in(connection, kept.quarantine_id)
    return SetAsideDetail(
        id=kept.quarantine_id,
        reason=kept.reason,
        detail=kept.detail,
        received_at=kept.received_at,
        recorded_at=kept.recorded_at,
        customer=kept.customer,
        billing_period=kept.billing_period,
        adapter=kept.adapter,
        topic=kept.topic,
        headers=kept.headers,
        partition=kept.partition,
        offset=kept.record_offset,
        item=kept.item,
        late=kept.late,
        raw=_raw(kept),
        content=_content(found, region),
        unreadable=found.why,
        is_certain=found.is_certain,
        time_evidence=found.time,
        candidates=[_candidate(connection, found, each) for each in found.candidates],
        first=_first(kept),
        resolution=kept.resolution,
        resolved_by=kept.resolved_by,
        resolved_at=kept.resolved_at,
        note=kept.note,
        billed_in=None if booked is None else booked[0],
        invoice=None if booked is None else booked[1],
    )


def _entry(row: SetAside) -> SetAsideEntry:
    return SetAsideEntry(
        id=row.quarantine_id,
        reason=row.reason,
        detail=row.detail,
        received_at=row.received_at,
        customer=row.customer,
        device=row.device,
        billing_period=row.billing_period,
        adapter=row.adapter,
        topic=row.topic,
        partition=row.partition,
        offset=row.record_offset,
        item=row.item,
        late=row.late,
        bytes=row.size,
        resolution=row.resolution,
        resolved_by=row.resolved_by,
        resolved_at=row.resolved_at,
    )


def _raw(kept: Kept) -> Raw | None:
    if kept.raw is None:
        return None
    try:
        text = kept.raw.decode()
    except UnicodeDecodeError:
        text = None
    return Raw(len(kept.raw), kept.raw.hex(), text)


def _content(found: Evidence, region: Region) -> Content | None:
    content = found.content
    if content is None:
        return None
    kinds = {metric.code: metric.kind for metric in region.spec.metrics}
    items = [
        ContentItem(each.metric, kinds.get(each.metric), plain(each.quantity), each is found.item)
        for each in content.items
    ]
    time = content.time
    return Content(
        device=content.device,
        identity=content.method.value,
        items=items,
        event_at=None if time is None else time.event_at,
        sent_at=None if time is None else time.sent_at,
    )


def _candidate(connection: Connection, found: Evidence, candidate: Candidate) -> PeriodCandidate:
    match = candidate.match
    period = None if match is None else match.period
    row = None if period is None else periods.find(connection, [period.key]).get(period.key)
    held = Decimal(0)
    if row is not None and found.item is not None:
        held = usage.belonging(connection, row.period_id, found.item.metric)
    return PeriodCandidate(
        event_at=candidate.event_at,
        customer=candidate.customer,
        contract=None if match is None else match.terms.contract,
        plan=None if match is None else match.terms.plan,
        billing_period=None if period is None else period.billing_period,
        start=None if period is None else period.bounds.start,
        end=None if period is None else period.bounds.end,
        is_final=row is not None and row.phase == "final",
        booked=plain(held),
    )


def _first(kept: Kept) -> FirstCopy | None:
    first = kept.identity
    if first is None or not kept.conflicts:
        return None
    quantity = None if first.quantity is None else plain(first.quantity)
    return FirstCopy(first.event_at, first.received_at, first.metric, quantity, first.is_billed)
