"""Boundary: whether an event's uncertainty reaches over an edge of its period, and what a person decided."""

from datetime import datetime, timedelta
from enum import StrEnum

from fleetmeter_rules.calendar import Bounds


class Edge(StrEnum):
    """An edge of a period, named after the neighbour behind it."""

    PREVIOUS = "previous"
    NEXT = "next"


def straddles(at: datetime, uncertainty: timedelta, start: datetime, end: datetime) -> bool:
    """Whether the true time, at most `uncertainty` from `at`, may lie outside start <= t < end."""
    return at - uncertainty < start or at + uncertainty >= end


def certain(uncertainty: timedelta, own: Bounds) -> tuple[datetime, datetime]:
    """From when, and until before when, an event of this uncertainty is in no doubt; empty where it always is
    in some."""
    return own.start + uncertainty, own.end - uncertainty


def edges(at: datetime, uncertainty: timedelta, own: Bounds) -> tuple[Edge, ...]:
    """The edges that the uncertainty reaches over: the neighbours in which the event may have happened.

    Empty for an event that is billed in a period which does not hold its time: it is late usage, and no
    doubt about its time put it there.
    """
    if at not in own:
        return ()
    before = (Edge.PREVIOUS,) if at - uncertainty < own.start else ()
    after = (Edge.NEXT,) if at + uncertainty >= own.end else ()
    return before + after


def waits_for_review(candidates: int, decided: int, threshold: int | None) -> bool:
    """Whether more candidates are undecided than the contract lets pass; None lets any number pass."""
    return threshold is not None and candidates - decided > threshold
