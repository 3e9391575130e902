"""Lateness: what becomes of an event by when it was received, from T, R and the contract alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_rules.calendar import Bounds, Calendar, contract_period, cut_off


class Action(StrEnum):
    """Where an event goes."""

    OWN_PERIOD = "own"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REOPEN = "reopen"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Where the event goes, whether it is late, and the reason code if it is set aside.

    `late`: received at or after the end of its period, whatever becomes of it. `clock_stepped`: received
    before the cut-off by the broker's clock, yet its period was sealed already, so that clock went
    backwards.
    """

    action: Action
    late: bool
    reason: str | None = None
    clock_stepped: bool = False


LATE_AFTER_FINAL = "late_after_final"


def decide(
    received_at: datetime, own: Bounds, cut_off: datetime, policy: LateUsagePolicy, sealed: bool = False
) -> Decision:
    """The fate of an event whose own period is `own`, received at R.

    R before the cut-off: its own period. R at or after it: quarantine (Grace), the contract period that
    holds R, as an adjustment (Defer; with a grace of 0 the article's option 2), or an amended invoice of
    its own period (Reopen). Never a matter of now() or of the order of arrival. `sealed` says that the own
    period is closed for writing: an event with R before the cut-off is then late usage too, and flagged.
    """
    late = received_at >= own.end
    in_time = received_at < cut_off
    if in_time and not sealed:
        return Decision(Action.OWN_PERIOD, late)
    if policy == "Defer":
        return Decision(Action.DEFER, True, clock_stepped=in_time)
    if policy == "Reopen":
        return Decision(Action.REOPEN, True, clock_stepped=in_time)
    return Decision(Action.QUARANTINE, True, LATE_AFTER_FINAL, clock_stepped=in_time)


@dataclass(frozen=True, slots=True)
class Amendment:
    """Which revision of its period late usage belongs to, and the cut-off at which that one is sealed."""

    revision: int
    due_at: datetime


def amendment(
    own: Bounds, received_at: datetime, calendar: Calendar, grace: timedelta, sealed_revision: int = 1
) -> Amendment:
    """The amendment that bills usage of `own` received at R after its cut-off, under Reopen.

    Amended invoices come with the regular ones: what was received in the n-th period after its own is
    revision n + 1, sealed at that period's cut-off. So a contract gets at most one amendment of a period at
    each invoice date, and a replay gives every event the same revision. `sealed_revision` is the last one
    that is sealed: usage that meets it sealed all the same, because the broker's clock went back, goes to
    the next.
    """
    following = contract_period(own.end, calendar)
    revision = 2
    while received_at >= following.end or revision <= sealed_revision:
        following = contract_period(following.end, calendar)
        revision += 1
    return Amendment(revision, cut_off(following, grace))
