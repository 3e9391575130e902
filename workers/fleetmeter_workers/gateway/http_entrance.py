"""The HTTP entrance: a message or a batch of lines in, 202 once all of it is durable in Kafka."""

import asyncio
import time
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fleetmeter_workers.gateway import metrics
from fleetmeter_workers.gateway.acceptance import MAX_MESSAGE_BYTES, Acceptance, Arrival
from fleetmeter_workers.gateway.usage_topic import HEALTH_PART as KAFKA
from fleetmeter_workers.gateway.usage_topic import UsageTopic
from fleetmeter_workers.telemetry import Health
from fleetmeter_workers.tokens import Principal, Role, Tokens

MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_BUFFERED_BYTES = 64 * 1024 * 1024
MAX_KEY = 200
DURABLE_SECONDS = 30.0
BATCH_TYPE = "application/x-ndjson"


class TurnedAway(Exception):  # noqa: N818 - it is an answer, not an error
    """A request that is not taken in: a status, what is wrong, what to do."""

    def __init__(self, status: int, error: str, remedy: str) -> None:
        """The answer's status and its two sentences."""
        super().__init__(error)
        self.status = status
        self.error = error
        self.remedy = remedy


class Receipt:
    """Counts the messages of one request down to durable."""

    def __init__(self, messages: int) -> None:
        """Wait for so many."""
        self._left = messages
        self._loop = asyncio.get_running_loop()
        self._all = asyncio.Event()

    def durable(self) -> None:
        """One more is durable; called from the thread of the deliveries alone."""
        self._left -= 1
        metrics.ACCEPTED.labels("http").inc()
        if self._left == 0 and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._all.set)

    async def wait(self) -> None:
        """Return when all are durable."""
        await self._all.wait()


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one request; for each the receive time that a backfill states, and its key."""

    messages: list[bytes]
    stated: list[str | None]
    keys: list[str | None]


class HttpEntrance:
    """The routes of the gateway's port."""

    def __init__(self, tokens: Tokens, acceptance: Acceptance, usage: UsageTopic, health: Health) -> None:
        """Share the acceptance and the topic with the MQTT entrance."""
        self._tokens = tokens
        self._acceptance = acceptance
        self._usage = usage
        self._health = health
        self._buffered = 0

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/uplink/{adapter}", self._uplink, methods=["POST"]),
                Route("/v1/backfills/{backfill}/uplink/{adapter}", self._backfill, methods=["POST"]),
            ],
            exception_handlers={TurnedAway: _turn_away, HTTPException: _no_route},
        )

    async def _uplink(self, request: Request) -> Response:
        return await self._take_in(request, "ingest", None)

    async def _backfill(self, request: Request) -> Response:
        return await self._take_in(request, "backfill", request.path_params["backfill"])

    async def _take_in(self, request: Request, role: Role, backfill: str | None) -> Response:
        received = time.time_ns() // 1000
        principal = self._authorise(request, role)
        if KAFKA in self._health.trouble():
            raise _not_now("Kafka is away")
        body = await self._body(request)
        try:
            batch = _split(request, body)
            arrivals = [
                Arrival(
                    entry="http",
                    principal=principal.name,
                    adapter=request.path_params["adapter"],
                    topic=request.url.path,
                    raw=raw,
                    received=received,
                    backfill=backfill,
                    stated=stated,
                    key=key,
                )
                for raw, stated, key in zip(batch.messages, batch.stated, batch.keys, strict=True)
            ]
            return await self._make_durable(arrivals)
        finally:
            self._buffered -= len(body)

    async def _make_durable(self, arrivals: list[Arrival]) -> Response:
        if not arrivals:
            return JSONResponse({"accepted": 0}, 202)
        receipt = Receipt(len(arrivals))
        try:
            async with asyncio.timeout(DURABLE_SECONDS):
                if not await asyncio.to_thread(self._hand_over, arrivals, receipt):
                    raise _not_now("the buffers to Kafka are full")
                await receipt.wait()
        except TimeoutError:
            raise _not_now("Kafka did not confirm the messages in time") from None
        too_large = sum(len(arrival.raw) > MAX_MESSAGE_BYTES for arrival in arrivals)
        if too_large == len(arrivals):
            raise TurnedAway(
                413,
                f"the message is larger than {MAX_MESSAGE_BYTES // 1024} KiB; it was set aside, not billed",
                "Send smaller messages.",
            )
        answer = {"accepted": len(arrivals) - too_large}
        return JSONResponse(answer | ({"refused": too_large} if too_large else {}), 202)

    def _hand_over(self, arrivals: list[Arrival], receipt: Receipt) -> bool:
        return all(
            self._usage.put(self._acceptance.outgoing(arrival), receipt.durable, seconds=DURABLE_SECONDS)
            for arrival in arrivals
        )

    def _authorise(self, request: Request, role: Role) -> Principal:
        principal = self._tokens.principal(request.headers.get("authorization"))
        if principal is None:
            raise TurnedAway(
                401,
                "no known bearer token",
                "Send `Authorization: Bearer <token>` with a token of this region.",
            )
        if principal.role != role:
            raise TurnedAway(
                403,
                f"the token's role is {principal.role}",
                f"Use a token with the role {role} on this path.",
            )
        return principal

    async def _body(self, request: Request) -> bytes:
        """The whole body, counted in `_buffered` until the request is answered."""
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                self._buffered += len(part)
                if size > MAX_BATCH_BYTES:
                    raise TurnedAway(
                        413,
                        f"the body is larger than {MAX_BATCH_BYTES >> 20} MiB",
                        "Send fewer lines at once.",
                    )
                if self._buffered > MAX_BUFFERED_BYTES:
                    raise _not_now("too much is being taken in at once")
                parts.append(part)
        except (TurnedAway, ClientDisconnect):
            self._buffered -= size
            raise
        return b"".join(parts)


def _split(request: Request, body: bytes) -> Batch:
    """One message a body, or one a line; one stated time for all, or a comma-separated one for each."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    lines = body.split(b"\n") if content_type == BATCH_TYPE else [body]
    messages = [line for line in lines if line.strip()]
    header = request.headers.get("fleetmeter-received")
    stated: list[str | None] = [text.strip() for text in header.split(",")] if header else [None]
    if len(stated) == 1:
        stated *= len(messages)
    if len(stated) != len(messages):
        raise TurnedAway(
            400,
            f"Fleetmeter-Received has {len(stated)} times for {len(messages)} messages",
            "State one time for all messages, or one for each, separated by commas.",
        )
    return Batch(messages, stated, _keys(request, len(messages), lines=content_type == BATCH_TYPE))


def _keys(request: Request, count: int, *, lines: bool) -> list[str | None]:
    """The request's key for its message; in a batch each line has it with the number of the line."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return [None] * count
    if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise TurnedAway(
            400,
            f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters",
            "Send a UUID, and the same one when you send the message again.",
        )
    return [f"{key}#{number}" for number in range(1, count + 1)] if lines else [key] * count


def _not_now(error: str) -> TurnedAway:
    return TurnedAway(
        503, error, "Send the same again in a few seconds; a message that comes twice is billed once."
    )


async def _turn_away(_request: Request, error: Exception) -> Response:
    if not isinstance(error, TurnedAway):
        raise error
    metrics.DENIED.labels(str(error.status)).inc()
    headers = {"Retry-After": "5"} if error.status == 503 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": error.error, "remedy": error.remedy}, error.status, headers)


async def _no_route(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    metrics.DENIED.labels(str(error.status_code)).inc()
    remedy = "POST to /v1/uplink/<adapter> or /v1/backfills/<id>/uplink/<adapter>."
    return JSONResponse({"error": error.detail.lower(), "remedy": remedy}, error.status_code)
