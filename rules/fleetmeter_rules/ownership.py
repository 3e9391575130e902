"""Ownership: which customer a device belonged to at an instant, from append-only bindings."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Binding:
    """A device belongs to a customer for valid_from <= t < valid_to (None: no end). `recorded` orders the
    records."""

    customer: str
    valid_from: datetime
    valid_to: datetime | None
    recorded: int


def owner_at(bindings: Iterable[Binding], instant: datetime) -> str | None:
    """The customer at the instant, by the binding recorded last among those that hold it; None if none
    does."""
    holding = [
        b for b in bindings if b.valid_from <= instant and (b.valid_to is None or instant < b.valid_to)
    ]
    return max(holding, key=lambda b: b.recorded).customer if holding else None
