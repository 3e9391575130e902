"""One request as a handler sees it: who asks, for what, and the parts of the region that answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from fleetmeter_api.region import Region
from fleetmeter_workers.api.pool import Ledger
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.api.status_numbers import Summaries
from fleetmeter_workers.queue import Queue
from fleetmeter_workers.tokens import Principal, Tokens

MOST_ROWS = 1000
_Request = TypeVar("_Request")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a region's API is made of."""

    region: Region
    ledger: Ledger
    queue: Queue
    tokens: Tokens
    summaries: Summaries


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed the checks of its endpoint."""

    parts: Parts
    principal: Principal | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def actor(self) -> str:
        """The name that a change is recorded under."""
        return self.principal.name if self.principal else ""

    def text(self, name: str) -> str | None:
        """A query parameter, None when absent or empty."""
        return self.query.get(name) or None

    def wish(self, kind: type[_Request], remedy: str) -> _Request:
        """The JSON body as a request. Raises RefusalError (400), with this remedy, for any other body."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.MsgspecError as error:
            raise RefusalError(400, f"the body is not understood: {error}", remedy) from error

    def limit(self) -> int:
        """How many rows to answer with. Raises RefusalError (400) for what is no number from 1 to 1000."""
        text = self.text("limit")
        if text is None:
            return MOST_ROWS
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_ROWS:
            raise RefusalError(
                400, "limit is not a number from 1 to 1000", "Leave limit out, or ask for the next page."
            )
        return int(text)
