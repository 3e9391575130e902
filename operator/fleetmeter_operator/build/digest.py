"""Short content hashes: of configuration, plans and desired objects."""

from __future__ import annotations

import hashlib
import json


def canonical(content: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(content: object, length: int = 10) -> str:
    """The first `length` hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:length]
