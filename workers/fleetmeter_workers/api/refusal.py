"""An answer that says no: the HTTP status, what is wrong, and what to do."""

import msgspec
from starlette.responses import Response


class RefusalBody(msgspec.Struct, frozen=True):
    """The body of every answer of 400 and above."""

    error: str
    remedy: str


class RefusalError(Exception):
    """Raised by a handler to answer with an error."""

    def __init__(self, status: int, error: str, remedy: str) -> None:
        """`status` is the HTTP status; `error` and `remedy` are one plain sentence each."""
        super().__init__(error)
        self.status = status
        self.error = error
        self.remedy = remedy

    def response(self) -> Response:
        """The answer itself."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else None
        body = msgspec.json.encode(RefusalBody(self.error, self.remedy))
        return Response(body, self.status, headers, media_type="application/json")
