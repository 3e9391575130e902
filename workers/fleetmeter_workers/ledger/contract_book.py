"""The contract book: which contract binds a customer, and which contract period an instant falls into."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import Bounds, billed_time, billing_period_of, calendar_of, period_name
from fleetmeter_rules.contracts import Terms, Version, binding, defaults_of, terms_of, version_at


@dataclass(frozen=True, slots=True)
class PeriodTerms:
    """A contract period as the contract and the region make it. Its cut-off and policy are those of the
    version in force at its start, so that the order in which messages come makes no difference."""

    contract: str
    customer: str
    billing_period: str
    bounds: Bounds
    cut_off: datetime
    late_usage: LateUsagePolicy

    @property
    def key(self) -> tuple[str, datetime]:
        """What tells contract periods apart: the contract and the start."""
        return self.contract, self.bounds.start


@dataclass(frozen=True, slots=True)
class Match:
    """A contract's terms at R and the contract period that holds T."""

    terms: Terms
    period: PeriodTerms


class ContractBook:
    """Every version of every contract of a region, with the answers that a consumer and a closer ask for."""

    def __init__(self, region: Region, versions: Mapping[str, tuple[Version, ...]]) -> None:
        """Take the ledger's versions by contract code; the region gives what a contract leaves open."""
        self._region = region
        self._defaults = defaults_of(region.spec)
        calendar = region.spec.calendar
        cut = calendar_of(calendar)
        self._billed = billed_time(cut, calendar.first_period, calendar.last_period)
        self._versions = dict(sorted(versions.items()))
        self._by_customer: dict[str, list[str]] = {}
        for code, known in self._versions.items():
            for customer in {version.contract.customer.code for version in known}:
                self._by_customer.setdefault(customer, []).append(code)
        self._changes = {
            customer: sorted(version.loaded_at for code in codes for version in self._versions[code])
            for customer, codes in self._by_customer.items()
        }
        self._last: dict[tuple[str, int], Match] = {}

    def __len__(self) -> int:
        return len(self._versions)

    @property
    def contracts(self) -> tuple[str, ...]:
        """Every contract's code, in order."""
        return tuple(self._versions)

    def version(self, contract: str, instant: datetime) -> Version:
        """The contract's version in force at the instant; the first one before any was loaded."""
        return version_at(self._versions[contract], instant)

    def terms(self, contract: str, instant: datetime) -> Terms:
        """The contract's terms by the version in force at the instant."""
        return terms_of(self.version(contract, instant).contract, self._defaults)

    def match(self, customer: str, event_at: datetime, received_at: datetime) -> Match | None:
        """The customer's contract at T, by the versions in force at R, and the period.

        None without a contract, and outside the time that the region bills.
        """
        if customer not in self._changes:
            return None
        key = (customer, bisect_right(self._changes[customer], received_at))
        last = self._last.get(key)
        if last is not None and event_at in last.period.bounds and last.terms.in_force(event_at):
            return last
        terms = (self.terms(code, received_at) for code in self._by_customer[customer])
        bound = binding(terms, customer, event_at)
        if bound is None:
            return None
        bounds = bound.period_of(event_at)
        if not self._billed.touches(bounds):
            return None
        found = Match(bound, self._period(bound, bounds))
        self._last[key] = found
        return found

    def periods_of(self, contract: str, billing_period: str, until: datetime) -> list[PeriodTerms]:
        """The contract's periods that the billing period groups, started by `until`."""
        terms = self.terms(contract, until)
        found = (
            self._period(terms, bounds) for bounds in terms.periods(until) if self._billed.touches(bounds)
        )
        return [period for period in found if period.billing_period == billing_period]

    def _period(self, terms: Terms, bounds: Bounds) -> PeriodTerms:
        at_start = self.terms(terms.contract, bounds.start)
        return PeriodTerms(
            contract=terms.contract,
            customer=terms.customer,
            billing_period=self._billing_period(bounds.start),
            bounds=bounds,
            cut_off=at_start.cut_off(bounds),
            late_usage=at_start.late_usage,
        )

    def _billing_period(self, start: datetime) -> str:
        calendar = self._region.spec.calendar
        own = billing_period_of(start, calendar_of(calendar), calendar.first_period, calendar.last_period)
        return period_name(self._region.name, own, calendar.interval)
