"""The quarantine: what was set aside, with its reason, and how much of it there is."""

from datetime import datetime

import msgspec
from starlette.responses import Response

from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import quarantine


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


class QuarantineList(msgspec.Struct, frozen=True, rename="camel"):
    """Unresolved rows in the order they came, and how many there are in all, by reason."""

    counts: dict[str, int]
    quarantine: list[SetAsideEntry]
    next: int | None = None


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
            after=int(after),
            limit=limit,
        )
    entries = [
        SetAsideEntry(
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
        )
        for row in rows
    ]
    return json_response(QuarantineList(counts, entries, entries[-1].id if len(entries) == limit else None))
