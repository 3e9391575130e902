"""One described route: method, path, role, parameters and answer, and the checks that every route shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from prometheus_client import Counter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetmeter_workers.api.call import Call, Parts
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.tokens import Principal

Role = Literal["reader", "operator", "admin"]
Handler = Callable[[Call], Response]

_RANKS: dict[str, int] = {"reader": 1, "operator": 2, "admin": 3}
_REQUESTS = Counter(
    "fleetmeter_api_requests_total", "Requests answered, by route and status.", ("method", "route", "status")
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter; path parameters are read from the path itself."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route and its description; the OpenAPI document is made of nothing else.

    `role`: the least role that may call it, None where no token is asked for. `answer`: the type of the JSON
    body, None where `media` is something else. `most_bytes`: the largest body that is read, 0 for none.
    """

    method: Literal["GET", "POST"]
    path: str
    summary: str
    handler: Handler
    role: Role | None = "reader"
    answer: type | None = None
    media: str = "application/json"
    parameters: tuple[Parameter, ...] = ()
    body: type | None = None
    most_bytes: int = 0
    takes: Literal["application/x-ndjson", "application/json"] = "application/x-ndjson"

    def route(self, parts: Parts) -> Route:
        """The Starlette route that serves it."""

        async def serve(request: Request) -> Response:
            response = await _answer(self, parts, request)
            _REQUESTS.labels(self.method, self.path, response.status_code).inc()
            return response

        return Route(self.path, serve, methods=[self.method], name=f"{self.method} {self.path}")


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer of msgspec values."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _answer(endpoint: Endpoint, parts: Parts, request: Request) -> Response:
    try:
        principal = _admit(endpoint, parts, request)
        body = await _read(endpoint, request)
        call = Call(parts, principal, request.path_params, request.query_params, request.headers, body)
        return await run_in_threadpool(endpoint.handler, call)
    except RefusalError as refusal:
        return refusal.response()


def _admit(endpoint: Endpoint, parts: Parts, request: Request) -> Principal | None:
    if endpoint.role is None:
        return None
    principal = parts.tokens.principal(request.headers.get("authorization"))
    if principal is None:
        raise RefusalError(
            401,
            "the request has no bearer token that this region knows",
            "Send `Authorization: Bearer …` with a token whose SHA-256 is in the region's tokens Secret.",
        )
    if _RANKS.get(principal.role, 0) < _RANKS[endpoint.role]:
        raise RefusalError(
            403,
            f"the role {principal.role} may not do this",
            f"Use a token whose role is {endpoint.role}"
            + (" or admin." if endpoint.role != "admin" else "."),
        )
    return principal


async def _read(endpoint: Endpoint, request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > endpoint.most_bytes:
            raise RefusalError(
                413,
                f"the body is larger than {endpoint.most_bytes:,} bytes",
                "Send it in several requests." if endpoint.most_bytes else "Send no body.",
            )
        chunks.append(chunk)
    return b"".join(chunks)
