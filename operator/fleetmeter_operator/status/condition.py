"""Conditions: how they are made, and when their transition time moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleetmeter_api.values import instant_text

MESSAGE_LENGTH = 1024


@dataclass(frozen=True)
class Draft:
    """A condition before it has a time: what holds (None: unknown), why in one word, and what to do."""

    type: str
    holds: bool | None
    reason: str
    message: str = ""

    @property
    def status(self) -> str:
        """Kubernetes' word for it."""
        return "Unknown" if self.holds is None else str(self.holds)


def settle(
    drafts: Iterable[Draft], old: Iterable[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The conditions to write, by type; lastTransitionTime stays unless the status moved."""
    before = {condition["type"]: condition for condition in old}
    return [
        _settled(draft, before.get(draft.type), generation, now)
        for draft in sorted(drafts, key=lambda d: d.type)
    ]


def _settled(
    draft: Draft, before: Mapping[str, Any] | None, generation: int, now: datetime
) -> dict[str, Any]:
    same = before is not None and before.get("status") == draft.status
    since = (
        before["lastTransitionTime"]
        if before is not None and same
        else instant_text(now.replace(microsecond=0))
    )
    return {
        "type": draft.type,
        "status": draft.status,
        "reason": draft.reason,
        "message": draft.message[:MESSAGE_LENGTH],
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """The condition of a type; an empty one where there is none."""
    none: Mapping[str, Any] = {}
    return next((condition for condition in conditions if condition.get("type") == kind), none)
