"""Bearer tokens: which name and role a request speaks for; the file holds only their hashes."""

import hashlib
import hmac
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
import yaml

RECHECK_SECONDS = 2.0

Role = Literal["reader", "operator", "admin", "ingest", "backfill"]
ROLES: tuple[str, ...] = get_args(Role)


class TokensError(Exception):
    """The tokens file can't be used; the message says why, and never what is in it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request speaks for."""

    name: str
    role: Role


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[_Entry]


class Tokens:
    """The principals of a tokens file, read again when it changes. Without a file nobody is known."""

    def __init__(self, path: Path | None) -> None:
        """Read the file. Raises TokensError when it can't be used; a missing one is empty."""
        self._path = path
        self._lock = threading.Lock()
        self._stamp = self._changed()
        self._principals = _read(path)
        self._checked = time.monotonic()

    def principal(self, authorization: str | None) -> Principal | None:
        """Who an Authorization header speaks for, or None: no bearer token, or one that is not known."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        self._refresh()
        asked = hashlib.sha256(token.strip().encode()).hexdigest()
        found: Principal | None = None
        # Every hash is compared, whole: how long that takes tells nothing about any of them.
        for known, principal in self._principals.items():
            if hmac.compare_digest(known, asked):
                found = principal
        return found

    def _refresh(self) -> None:
        """A file that became unreadable changes nothing: those known stay known."""
        with self._lock:
            if time.monotonic() - self._checked < RECHECK_SECONDS:
                return
            self._checked = time.monotonic()
            stamp = self._changed()
            if stamp == self._stamp:
                return
            try:
                self._principals = _read(self._path)
            except TokensError:
                return
            self._stamp = stamp

    def _changed(self) -> tuple[int, int] | None:
        """What differs when the file was replaced."""
        if self._path is None or not self._path.exists():
            return None
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino


def _read(path: Path | None) -> dict[str, Principal]:
    if path is None or not path.exists():
        return {}
    try:
        content = msgspec.convert(yaml.safe_load(path.read_bytes()), _File)
    except (yaml.YAMLError, msgspec.ValidationError, OSError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is not readable YAML"
        raise TokensError(
            f"{path}: {reason}. Write `tokens: [{{name, role, sha256}}]`; role is one of {', '.join(ROLES)}."
        ) from None
    return {entry.sha256.lower(): Principal(entry.name, entry.role) for entry in content.tokens}
