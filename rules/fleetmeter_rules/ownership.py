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
    last: Binding | None = None
    for each in bindings:
        holds = each.valid_from <= instant and (each.valid_to is None or instant < each.valid_to)
        if holds and (last is None or each.recorded > last.recorded):
            last = each
    return None if last is None else last.customer
