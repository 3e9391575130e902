"""Which changes of a status a person should hear about as an Event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleetmeter_operator.status.close import AWAITS_A_PERSON
from fleetmeter_operator.status.condition import find

_TOLD_WHEN_TRUE = ("Stalled", "CredentialsMissing")
_TOLD_WHEN_FALSE = ("ContractsValid",)


@dataclass(frozen=True)
class Announcement:
    """One Event: its reason in one word, its message, and whether it is a warning."""

    reason: str
    message: str
    warning: bool


def announcements(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Announcement]:
    """The Events that the change from one status to the next is worth; none where nothing turned."""
    told: list[Announcement] = []
    for condition in new.get("conditions", []):
        before = find(old.get("conditions", []), condition["type"])
        turned = (before.get("status"), before.get("reason")) != (condition["status"], condition["reason"])
        wrong = "True" if condition["type"] in _TOLD_WHEN_TRUE else "False"
        watched = condition["type"] in (*_TOLD_WHEN_TRUE, *_TOLD_WHEN_FALSE)
        if watched and turned and condition["status"] == wrong:
            told.append(Announcement(condition["reason"], condition["message"], warning=True))
    waits = new.get("waitingFor")
    if waits in AWAITS_A_PERSON and old.get("waitingFor") != waits:
        told.append(Announcement(waits, find(new["conditions"], "Ready").get("message", ""), warning=True))
    if new.get("phase") == "Final" and old.get("phase") != "Final":
        told.append(
            Announcement("PeriodFinal", find(new["conditions"], "Ready").get("message", ""), warning=False)
        )
    return told
