"""Contracts: what binds a customer at an instant, and which version of a contract counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from fleetmeter_api.contract import Contract, LateUsagePolicy
from fleetmeter_api.region import BillingRegionSpec
from fleetmeter_rules.calendar import Bounds, Calendar, calendar_of, contract_period, cut_off, day_start


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a contract inherits from its region where it is silent."""

    calendar: Calendar
    grace: timedelta
    late_usage: LateUsagePolicy


def defaults_of(region: BillingRegionSpec) -> Defaults:
    """What a region declares for contracts that are silent."""
    late = region.late_usage
    return Defaults(calendar_of(region.calendar), timedelta(seconds=late.grace_period_seconds), late.policy)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract means for time: its calendar, its validity as instants, its grace and policy.

    `writes_off`: what its policy sets aside as late is written off as it comes.
    """

    contract: str
    customer: str
    plan: str
    calendar: Calendar
    valid_from: datetime
    valid_to: datetime | None
    grace: timedelta
    late_usage: LateUsagePolicy
    writes_off: bool = False

    def period_of(self, instant: datetime) -> Bounds:
        """The contract period that holds the instant."""
        return contract_period(instant, self.calendar)

    def cut_off(self, period: Bounds) -> datetime:
        """Until when late usage of the period counts."""
        return cut_off(period, self.grace)

    def in_force(self, instant: datetime) -> bool:
        """Whether the contract binds at the instant: from its first day to its last, in its zone."""
        return self.valid_from <= instant and (self.valid_to is None or instant < self.valid_to)

    def periods(self, until: datetime) -> list[Bounds]:
        """The contract periods that hold some of the contract's validity, oldest first, started by
        `until`."""
        end = until if self.valid_to is None else min(until, self.valid_to - timedelta(microseconds=1))
        out: list[Bounds] = []
        at = self.valid_from
        while at <= end:
            out.append(self.period_of(at))
            at = out[-1].end
        return out


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a contract: what it says, and when it was loaded. Versions are append-only."""

    number: int
    loaded_at: datetime
    contract: Contract


def terms_of(contract: Contract, region: Defaults) -> Terms:
    """The contract's terms, the region's where it says nothing. Raises ValueError for an anchor out of
    range."""
    zone = contract.time_zone or region.calendar.zone
    anchor = region.calendar.anchor_day if contract.anchor_day is None else contract.anchor_day
    seconds = contract.grace_period_seconds
    return Terms(
        contract=contract.contract,
        customer=contract.customer.code,
        plan=contract.plan,
        calendar=Calendar(zone, region.calendar.interval, anchor),
        valid_from=day_start(contract.valid_from, zone),
        valid_to=None if contract.valid_to is None else day_start(contract.valid_to, zone),
        grace=region.grace if seconds is None else timedelta(seconds=seconds),
        late_usage=contract.late_usage or region.late_usage,
        writes_off=contract.late_after_final == "WriteOff",
    )


def version_at(versions: Sequence[Version], instant: datetime) -> Version:
    """The version in force at an instant: the last one loaded by then.

    Before any was loaded, as in a backfill of history, the first one counts. Raises ValueError without
    versions.
    """
    if not versions:
        raise ValueError("a contract without a version decides nothing")
    loaded = [version for version in versions if version.loaded_at <= instant]
    if loaded:
        return max(loaded, key=lambda version: version.number)
    return min(versions, key=lambda version: version.number)


def binding(terms: Iterable[Terms], customer: str, instant: datetime) -> Terms | None:
    """The customer's contract in force at the instant, or None. Contracts are checked for overlaps before."""
    for candidate in terms:
        if candidate.customer == customer and candidate.in_force(instant):
            return candidate
    return None


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two contracts that bind one customer at once, from a day on."""

    first: str
    second: str
    since: date


def overlaps(contracts: Iterable[Contract]) -> list[Overlap]:
    """Pairs of contracts of one customer that overlap in time, by code; the later of a pair is to be
    refused."""
    ordered = sorted(contracts, key=lambda c: (c.customer.code, c.valid_from, c.contract))
    found: list[Overlap] = []
    for index, first in enumerate(ordered):
        for second in ordered[index + 1 :]:
            if second.customer.code != first.customer.code:
                break
            if first.valid_to is None or second.valid_from < first.valid_to:
                found.append(Overlap(first.contract, second.contract, second.valid_from))
    return found
