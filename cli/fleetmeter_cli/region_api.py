"""The region's API as commands ask it: address, token, answers, and what went wrong in words."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import typer

from fleetmeter_cli.port_forward import forwarded
from fleetmeter_cli.problem import UNREACHABLE, Problem
from fleetmeter_cli.target import Target

TOKEN_VARIABLE = "FLEETMETER_TOKEN"  # noqa: S105 - the variable's name
_PORT = 8080
_PAGE = 1000


class RegionApi:
    """An open connection to a region's API."""

    def __init__(self, url: str, token: str) -> None:
        """`url`: without a path."""
        loopback = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        self._url = url
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(60, connect=10),
            trust_env=not loopback,
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def get(self, path: str, **query: str | None) -> Any:
        """A JSON answer. Raises Problem."""
        return self.fetch(path, **query).json()

    def fetch(self, path: str, **query: str | None) -> httpx.Response:
        """An answer as it is. Raises Problem."""
        return self._ask("GET", path, params={name: value for name, value in query.items() if value})

    def post(self, path: str, body: bytes = b"") -> Any:
        """A JSON answer to a change. Raises Problem."""
        return self._ask("POST", path, content=body).json()

    def pages(self, path: str, field: str, **query: str | None) -> Generator[dict[str, Any]]:
        """Every entry of a list, page after page. Raises Problem."""
        after: str | None = None
        while True:
            page = self.get(path, limit=str(_PAGE), after=after, **query)
            yield from page[field]
            if page["next"] is None:
                return
            after = str(page["next"])

    def _ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **rest)
        except httpx.HTTPError as error:
            raise Problem(
                f"The region's API at {self._url} does not answer ({error or type(error).__name__}).",
                "Check the address, and that the region's API runs.",
                UNREACHABLE,
            ) from None
        if answer.status_code >= 400:
            raise _refused(answer)
        return answer


def segment(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


@contextmanager
def region_api(context: typer.Context) -> Generator[RegionApi]:
    """The API that the options before the command name. Raises Problem."""
    target = context.find_object(Target) or Target()
    if target.api is None and target.region is None:
        raise Problem(
            "No region is named.",
            "Put --region NAME (and --namespace), or --api URL, before the command.",
            2,
        )
    token = _token(target.token_file)
    if target.api is not None:
        api = RegionApi(target.api.rstrip("/"), token)
        try:
            yield api
        finally:
            api.close()
    else:
        with forwarded(target.namespace, f"{target.region}-api", _PORT) as url:
            api = RegionApi(url, token)
            try:
                yield api
            finally:
                api.close()


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text().strip()
        except OSError as error:
            raise Problem(
                f"The token file can't be read: {error.strerror}.", "Check --token-file.", 2
            ) from None
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise Problem(
            "A bearer token is needed.",
            f"Put --token-file FILE before the command, or set {TOKEN_VARIABLE}.",
            2,
        )
    return token


def _refused(answer: httpx.Response) -> Problem:
    try:
        body: Mapping[str, Any] = answer.json()
        return Problem(f"The region says: {body['error']}.", str(body["remedy"]))
    except (ValueError, KeyError, TypeError):
        return Problem(
            f"The address answers {answer.status_code}, and not like a region's API.",
            "Check the address.",
            UNREACHABLE,
        )
