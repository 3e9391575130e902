"""A trace: device messages in a file, one JSON text a line, plain or gzipped."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """A message as it is in the file; `received` in microseconds since 1970, None where it is not told."""

    raw: bytes
    received: int | None
    position: int
    """How far in the file its end is, in bytes as they are on disk."""


def read_lines(path: Path, received_field: str) -> Iterator[Line]:
    """The lines of a file, blank ones left out; the bytes of each are as they are. Raises OSError."""
    with path.open("rb") as disk:
        text = cast("IO[bytes]", gzip.GzipFile(fileobj=disk)) if path.suffix == ".gz" else disk
        for line in text:
            raw = line.rstrip(b"\r\n")
            if raw.strip():
                yield Line(raw, received_at(raw, received_field), disk.tell())


def received_at(raw: bytes, field: str) -> int | None:
    """The receive time that a line tells: a number is milliseconds since 1970, a text is RFC 3339."""
    try:
        message: Any = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None
    value = cast("dict[str, Any]", message).get(field) if isinstance(message, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        return _from_text(value)
    micros = round(value * 1000) if abs(value) < 1e15 else -1
    return micros if micros >= 0 else None


def _from_text(text: str) -> int | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None or instant < EPOCH:
        return None
    elapsed = instant - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
