"""A small client of the API server: bounded in time, passing trouble tried again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import aiohttp

from fleetmeter_operator.build.labels import MANAGER
from fleetmeter_operator.build.site import Object
from fleetmeter_operator.cluster import kinds
from fleetmeter_operator.cluster.connection import Connection

_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
_ATTEMPTS = 4
_MOST_BACKOFF = 4.0
_TRANSIENT = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """The API server refused a request. `status` is the HTTP code, `reason` Kubernetes' own word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class UnreachableError(Exception):
    """The API server did not answer in time, several times over; try again later."""


class Client:
    """One namespace of one API server. Every call may raise ApiError or UnreachableError."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self.namespace = namespace
        self._connection = connection
        connector = aiohttp.TCPConnector(limit=8, ssl=connection.tls or False, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=_TIMEOUT,
            headers={"User-Agent": MANAGER, "Accept": "application/json"},
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def list(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind that the label selector picks, with their kind filled in."""
        query = {"labelSelector": selector} if selector else {}
        answer = await self._request("GET", kinds.path(kind, self.namespace), query=query)
        stamp = {"apiVersion": kinds.api_version(kind), "kind": kind}
        return [{**stamp, **item} for item in answer.get("items", [])]

    async def get(self, kind: str, name: str) -> Object | None:
        """One object, or None where there is none."""
        try:
            return await self._request("GET", kinds.path(kind, self.namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, body: Object) -> bool:
        """Create an object; False where one of that name exists, which then stays as it is."""
        try:
            await self._request("POST", kinds.path(body["kind"], self.namespace), body=body)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return False
            raise
        return True

    async def apply(self, body: Object, subresource: str = "") -> Object:
        """Server-side apply: our fields become these, whoever had them; everyone else's stay."""
        name = body["metadata"]["name"]
        return await self._request(
            "PATCH",
            kinds.path(body["kind"], self.namespace, name, subresource),
            query={"fieldManager": MANAGER, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )

    async def set_finalizers(self, live: Object, finalizers: Sequence[str]) -> None:
        """Replace the finalizers of the object as it was read; a conflict means that it changed since."""
        metadata = {"finalizers": list(finalizers), "resourceVersion": live["metadata"]["resourceVersion"]}
        await self._request(
            "PATCH",
            kinds.path(live["kind"], self.namespace, live["metadata"]["name"]),
            query={"fieldManager": MANAGER},
            body={"metadata": metadata},
            content_type="application/merge-patch+json",
        )

    async def delete(self, kind: str, name: str) -> bool:
        """Delete an object and, in the background, what it owns; False where there is none."""
        try:
            await self._request(
                "DELETE", kinds.path(kind, self.namespace, name), body={"propagationPolicy": "Background"}
            )
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def serves(self) -> bool:
        """Whether the API server serves the custom kinds."""
        try:
            answer = await self._request("GET", f"/apis/{kinds.api_version(kinds.CUSTOM[0])}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        served = {resource.get("kind") for resource in answer.get("resources", [])}
        return served.issuperset(kinds.CUSTOM)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One call, tried again while the trouble looks passing: each can be repeated without harm."""
        data = None if body is None else json.dumps(body)
        backoff = 0.5
        for attempt in range(1, _ATTEMPTS + 1):
            trouble: str
            try:
                answer = await self._once(method, path, query or {}, data, content_type)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = f"{type(error).__name__} {error}".strip()
            else:
                if not isinstance(answer, ApiError):
                    return answer
                if answer.status not in _TRANSIENT:
                    raise answer
                trouble = str(answer)
            if attempt == _ATTEMPTS:
                raise UnreachableError(f"{method} {path}: {trouble}; tried {_ATTEMPTS} times")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _MOST_BACKOFF)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, query: Mapping[str, str], data: str | None, content_type: str
    ) -> Object | ApiError:
        headers = {"Content-Type": content_type}
        if token := self._connection.token():
            headers["Authorization"] = f"Bearer {token}"
        url = self._connection.server + path
        async with self._session.request(method, url, params=query, data=data, headers=headers) as response:
            answer: Any = await response.json(content_type=None)
            if response.status < 400:
                return answer
            refusal = cast("Object", answer) if isinstance(answer, dict) else {}
            return ApiError(response.status, refusal.get("reason", "Unknown"), refusal.get("message", ""))
