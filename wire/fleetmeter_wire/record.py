"""Record: the headers of a record in the queue, which the gateway alone writes."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote, unquote

import msgspec

from fleetmeter_wire.envelope import RequestKey
from fleetmeter_wire.message import Reason

VERSION: Final = "1"
_YEAR_1: Final = -62_135_596_800_000_000
_YEAR_10000: Final = 253_402_300_800_000_000
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")

_ALWAYS: Final = 6
"""How many headers every message has; others are seldom the same twice."""
_RECEIVED: Final = 4
"""Where a gateway writes the header `received`."""
_Pairs = tuple[tuple[str, bytes | str | None], ...]

Entry = Literal["mqtt", "http"]


class HeaderError(ValueError):
    """Headers that no gateway writes; the text says what is wrong."""


class Headers(msgspec.Struct, frozen=True, gc=False):
    """How a message came in. Times are whole microseconds since 1970, UTC.

    `received`: the gateway's clock. `topic`: MQTT topic or HTTP path. `backfill`, `stated`: the backfill's
    id and the R that it states. `refusal`: the reason code with which the gateway refused the message. `key`:
    the HTTP request's `Idempotency-Key`.
    """

    adapter: str
    entry: Entry
    principal: str
    received: int
    topic: str
    backfill: str | None = None
    stated: int | None = None
    refusal: str | None = None
    key: str | None = None


def encode_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """The headers as ASCII pairs, in a fixed order; what is not printable ASCII is percent-encoded."""
    texts: list[tuple[str, str | None]] = [
        ("v", VERSION),
        ("adapter", headers.adapter),
        ("entry", headers.entry),
        ("principal", headers.principal),
        ("received", str(headers.received)),
        ("topic", headers.topic),
        ("backfill", headers.backfill),
        ("stated", None if headers.stated is None else str(headers.stated)),
        ("refusal", headers.refusal),
        ("key", headers.key),
    ]
    return [(name, _quoted(text)) for name, text in texts if text is not None]


def decode_headers(pairs: Iterable[tuple[str, bytes | str | None]] | None) -> Headers:
    """The headers of a record. Raises HeaderError for a header missing, given twice, or of another
    version."""
    given = tuple(pairs or ())
    if len(given) == _ALWAYS and given[_RECEIVED][0] == "received":
        # All but the time of receipt comes again and again from one gateway.
        name, value = given[_RECEIVED]
        known = _known(given[:_RECEIVED] + given[_RECEIVED + 1 :])
        if known is not None:
            return msgspec.structs.replace(known, received=_micros(name, _unquoted(name, value)))
    return _decoded(given)


@lru_cache(maxsize=4096)
def _known(pairs: _Pairs) -> Headers | None:
    """The headers but for the time of receipt; None where they are wrong."""
    try:
        return _decoded((*pairs, ("received", b"0")))
    except HeaderError:
        return None


def _decoded(pairs: _Pairs) -> Headers:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise HeaderError(f"header {name} is given twice")
        found[name] = _unquoted(name, value)
    if found.get("v") != VERSION:
        raise HeaderError(f"header v must be {VERSION}; was the record written by a newer gateway?")
    missing = [n for n in ("adapter", "entry", "principal", "received", "topic") if n not in found]
    if missing:
        raise HeaderError(f"header {missing[0]} is missing")
    return Headers(
        adapter=found["adapter"],
        entry=_entry(found["entry"]),
        principal=found["principal"],
        received=_micros("received", found["received"]),
        topic=found["topic"],
        backfill=found.get("backfill"),
        stated=_micros("stated", found["stated"]) if "stated" in found else None,
        refusal=found.get("refusal"),
        key=found.get("key"),
    )


def request_key(headers: Headers) -> RequestKey | None:
    """The key of the HTTP request that the message came with, and its scope."""
    return None if headers.key is None else RequestKey(headers.principal, headers.topic, headers.key)


def refusal_reason(headers: Headers) -> Reason | None:
    """The gateway's refusal as a reason code of this project; an unknown code counts as unparseable."""
    if headers.refusal is None:
        return None
    return "too_large" if headers.refusal == "too_large" else "unparseable"


def _entry(text: str) -> Entry:
    if text == "mqtt":
        return "mqtt"
    if text == "http":
        return "http"
    raise HeaderError("header entry must be mqtt or http")


def _micros(name: str, text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 18):
        raise HeaderError(f"header {name} must be whole microseconds since 1970")
    micros = int(text)
    if not _YEAR_1 <= micros < _YEAR_10000:
        raise HeaderError(f"header {name} lies outside the years 1 to 9999")
    return micros


def _quoted(text: str) -> bytes:
    return quote(text, safe=_SAFE, errors="surrogatepass").encode("ascii")


def _unquoted(name: str, value: bytes | str | None) -> str:
    if value is None:
        raise HeaderError(f"header {name} is empty")
    try:
        text = value if isinstance(value, str) else value.decode("ascii")
        return unquote(text, errors="strict") if "%" in text else text
    except UnicodeError:
        raise HeaderError(f"header {name} is not ASCII") from None
