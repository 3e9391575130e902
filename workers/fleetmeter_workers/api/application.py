"""The region's two web applications, made from one table of endpoints."""

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fleetmeter_workers.api import (
    backfills,
    completeness,
    contracts,
    devices,
    invoices,
    openapi,
    quarantine,
    replays,
    resolutions,
    reviews,
    usage,
)
from fleetmeter_workers.api.call import Call, Parts
from fleetmeter_workers.api.endpoint import Endpoint, Handler, Parameter
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.api.status import Status, show_status

_PERIOD = Parameter("billingPeriod", "Only this billing period, for example eu-202301.")
_LIMIT = Parameter("limit", "How many rows at most, 1 to 1000.")
_AFTER = Parameter("after", "The `next` of the page before.")


def show_document(call: Call) -> Response:
    """GET /openapi.json."""
    document = openapi.describe([*ENDPOINTS, *STATUS_ENDPOINTS], call.parts.region.name)
    return Response(msgspec.json.encode(document), media_type="application/json")


def _change(
    path: str, summary: str, handler: Handler, *, body: type, most_bytes: int, answer: type
) -> Endpoint:
    """A change that an operator of the region asks for in JSON."""
    return Endpoint(
        "POST",
        path,
        summary,
        handler,
        role="operator",
        answer=answer,
        body=body,
        most_bytes=most_bytes,
        takes="application/json",
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v1/invoices",
        "List invoices by number.",
        invoices.list_invoices,
        answer=invoices.InvoiceList,
        parameters=(Parameter("contract", "Only this contract's."), _PERIOD, _LIMIT, _AFTER),
    ),
    Endpoint(
        "GET",
        "/v1/invoices/{number}",
        "An invoice's JSON, to the byte as it was sealed.",
        invoices.show_invoice,
        answer=invoices.InvoiceDocument,
    ),
    Endpoint(
        "GET",
        "/v1/invoices/{number}/page",
        "An invoice as a page for people and for print.",
        invoices.show_page,
        media="text/html",
    ),
    Endpoint(
        "GET",
        "/v1/usage",
        "What was billed so far, at most 10,000 rows.",
        usage.list_usage,
        answer=usage.UsageList,
        parameters=(
            Parameter("customer", "Only this customer's."),
            _PERIOD,
            Parameter("by", "`day` for one row a UTC day."),
        ),
    ),
    Endpoint(
        "GET",
        "/v1/quarantine",
        "What was set aside and waits for a decision.",
        quarantine.list_quarantine,
        answer=quarantine.QuarantineList,
        parameters=(
            Parameter("reason", "Only this reason code."),
            Parameter("device", "Only this device's, by alias or uid."),
            Parameter("resolved", "`true` to see those that were resolved as well."),
            _PERIOD,
            _LIMIT,
            _AFTER,
        ),
    ),
    Endpoint(
        "GET",
        "/v1/quarantine/{id}",
        "Everything about one row: its bytes, what they say, and where it would be billed.",
        quarantine.show,
        role="operator",
        answer=quarantine.SetAsideDetail,
    ),
    _change(
        "/v1/quarantine/{id}/resolve",
        "Bill a row next, credit its first copy, write it off, or call it a copy; once.",
        resolutions.resolve_one,
        body=resolutions.ResolveRequest,
        most_bytes=resolutions.MOST_BYTES,
        answer=quarantine.SetAsideDetail,
    ),
    _change(
        "/v1/quarantine/resolve",
        "Resolve many rows the same way; one that can't be resolved stops no other.",
        resolutions.resolve_many,
        body=resolutions.ResolveManyRequest,
        most_bytes=resolutions.MOST_BYTES,
        answer=resolutions.ResolutionResult,
    ),
    Endpoint(
        "GET",
        "/v1/devices",
        "List registered devices by uid.",
        devices.list_devices,
        role="operator",
        answer=devices.DeviceList,
        parameters=(_LIMIT, _AFTER),
    ),
    Endpoint(
        "POST",
        "/v1/devices",
        "Register devices and their owners; a bad line stops no other.",
        devices.register,
        role="operator",
        answer=devices.RegistrationResult,
        body=devices.DeviceLine,
        most_bytes=devices.MOST_BYTES,
    ),
    Endpoint(
        "GET",
        "/v1/contracts",
        "List contracts, and the files that were refused.",
        contracts.list_contracts,
        answer=contracts.ContractList,
    ),
    Endpoint(
        "GET", "/v1/backfills", "List backfills.", backfills.list_backfills, answer=backfills.BackfillList
    ),
    Endpoint(
        "POST",
        "/v1/backfills/{id}/complete",
        "Say that a backfill is loaded; its periods can close then.",
        backfills.complete,
        role="operator",
        answer=backfills.BackfillEntry,
    ),
    Endpoint(
        "POST",
        "/v1/backfills/{id}/revert",
        "Give a backfill up; what still arrives for it is set aside.",
        backfills.revert,
        role="operator",
        answer=backfills.BackfillEntry,
    ),
    Endpoint("GET", "/v1/replays", "List the last replays.", replays.list_replays, answer=replays.ReplayList),
    Endpoint(
        "GET",
        "/v1/replays/{id}",
        "How far a replay is, and what it changed once it is done.",
        replays.show,
        answer=replays.ReplayEntry,
    ),
    _change(
        "/v1/replays",
        "Read records again from an offset, a time, or all that a period can hold.",
        replays.start,
        body=replays.ReplayRequest,
        most_bytes=replays.MOST_BYTES,
        answer=replays.ReplayEntry,
    ),
    Endpoint(
        "GET",
        "/v1/reviews",
        "Billed events whose uncertainty reaches into a neighbouring period.",
        reviews.list_reviews,
        answer=reviews.ReviewList,
        parameters=(
            Parameter("billingPeriod", "The billing period to look at, for example eu-202301."),
            Parameter("contract", "Only this contract's."),
            Parameter("decided", "`true` to see those that were decided as well."),
            _LIMIT,
            _AFTER,
        ),
    ),
    Endpoint(
        "GET",
        "/v1/completeness",
        "What devices counted and the ledger does not hold, and silent devices, as just looked at.",
        completeness.list_completeness,
        answer=completeness.CompletenessList,
        parameters=(
            Parameter("billingPeriod", "The billing period to look at, for example eu-202301."),
            Parameter("contract", "Only this contract's."),
            _LIMIT,
            _AFTER,
        ),
    ),
    _change(
        "/v1/completeness/accept",
        "Take contract periods as they are, so that none waits for missing usage.",
        completeness.take,
        body=completeness.TakeRequest,
        most_bytes=completeness.MOST_BYTES,
        answer=completeness.TakeResult,
    ),
    _change(
        "/v1/reviews/accept",
        "Leave events in doubt where they are booked: named ones, or all that nobody decided.",
        reviews.accept,
        body=reviews.AcceptRequest,
        most_bytes=reviews.MOST_BYTES,
        answer=reviews.ReviewResult,
    ),
    _change(
        "/v1/reviews/move",
        "Bill events in doubt in the neighbouring period, as long as neither period is final.",
        reviews.move,
        body=reviews.MoveRequest,
        most_bytes=reviews.MOST_BYTES,
        answer=reviews.ReviewResult,
    ),
    _change(
        "/v1/reviews/undo",
        "Take decisions about events in doubt back, as long as no period that they concern is final.",
        reviews.undo,
        body=reviews.UndoRequest,
        most_bytes=reviews.MOST_BYTES,
        answer=reviews.ReviewResult,
    ),
    Endpoint("GET", "/openapi.json", "This document.", show_document, role=None, answer=dict),
)
"""What people, the dashboard and the command line call, on the API's port."""

STATUS_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/status",
        "The region's numbers for the operator, on the status port only.",
        show_status,
        role=None,
        answer=Status,
    ),
)
"""What the operator calls, on a port that nobody else reaches."""


def application(parts: Parts, endpoints: tuple[Endpoint, ...]) -> Starlette:
    """A web application that serves these endpoints; everything else gets an error with its remedy."""
    routes = [endpoint.route(parts) for endpoint in endpoints]
    handlers = {HTTPException: _no_such_route, Exception: _broken}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _no_such_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        return RefusalError(
            405, "this path has no such method", "GET /openapi.json names the methods."
        ).response()
    return RefusalError(status, "there is no such path", "GET /openapi.json names all of them.").response()


async def _broken(request: Request, error: Exception) -> Response:
    return RefusalError(
        500, "the request failed inside the region's API", "Look for it in the API's log and report it."
    ).response()
