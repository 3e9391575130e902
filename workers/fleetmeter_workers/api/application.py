"""The region's two web applications, made from one table of endpoints."""

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fleetmeter_workers.api import backfills, contracts, devices, invoices, openapi, quarantine, usage
from fleetmeter_workers.api.call import Call, Parts
from fleetmeter_workers.api.endpoint import Endpoint, Parameter
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.api.status import Status, show_status

_PERIOD = Parameter("billingPeriod", "Only this billing period, for example eu-202301.")
_LIMIT = Parameter("limit", "How many rows at most, 1 to 1000.")
_AFTER = Parameter("after", "The `next` of the page before.")


def show_document(call: Call) -> Response:
    """GET /openapi.json."""
    document = openapi.describe([*ENDPOINTS, *STATUS_ENDPOINTS], call.parts.region.name)
    return Response(msgspec.json.encode(document), media_type="application/json")


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
        parameters=(Parameter("reason", "Only this reason code."), _PERIOD, _LIMIT, _AFTER),
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
