"""Doubts: what a person may want to look at in contract periods that are not sealed yet, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleetmeter_rules.contracts import Version, version_at
from fleetmeter_rules.seal import Doubts, Readiness, awaits_a_person, awaits_an_older
from fleetmeter_workers.ledger.database import Connection

_SELECT: Final = (
    "SELECT contract, billing_period, starts_at, cutoff_at, coalesce(boundary, 0), coalesce(reviewed, 0), "
    "coalesce(looked.missing, 0), coalesce(looked.silent, 0), coalesce(taken.missing, 0), "
    "coalesce(taken.silent, 0) "
    "FROM fleetmeter.contract_period LEFT JOIN fleetmeter.period_count USING (period_id) "
    "LEFT JOIN fleetmeter.period_completeness AS looked USING (period_id) "
    "LEFT JOIN LATERAL (SELECT missing, silent FROM fleetmeter.incomplete_decision AS own "
    "WHERE own.period_id = contract_period.period_id ORDER BY decision_id DESC LIMIT 1) AS taken ON true "
)
_OF_PERIOD: Final = _SELECT + "WHERE period_id = %s"
_UNSEALED: Final = (
    _SELECT + "WHERE phase <> 'final' AND cutoff_at <= clock_timestamp() "
    "AND (boundary > reviewed OR looked.missing > 0 OR looked.silent > 0) ORDER BY contract, starts_at"
)
_EARLIER: Final = _SELECT + "WHERE contract = %s AND starts_at < %s AND phase <> 'final' ORDER BY starts_at"
_LATER: Final = (
    "SELECT contract, billing_period, starts_at FROM fleetmeter.contract_period "
    "WHERE contract = ANY(%s) AND phase <> 'final' AND cutoff_at <= clock_timestamp()"
)


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A contract period's numbers: events in doubt and how many are decided, numbers missing and devices
    silent as last looked at, and with how many of either a person took the period."""

    contract: str
    billing_period: str
    starts_at: datetime
    cutoff_at: datetime
    candidates: int
    decided: int
    missing: int
    silent: int
    taken_missing: int
    taken_silent: int

    def awaits(self, versions: Sequence[Version]) -> Readiness:
        """Whether it waits for a person, by the version of its contract in force at the cut-off."""
        contract = version_at(versions, self.cutoff_at).contract
        doubts = Doubts(
            candidates=self.candidates,
            decided=self.decided,
            threshold=contract.boundary_review_threshold,
            missing=self.missing,
            silent=self.silent,
            hold_incomplete=contract.incomplete_usage == "Hold",
            taken_missing=self.taken_missing,
            taken_silent=self.taken_silent,
        )
        return awaits_a_person(doubts, self.billing_period)


def of_period(connection: Connection, period_id: int) -> InDoubt:
    """The contract period's numbers. Raises LookupError where there is no such period."""
    row = connection.execute(_OF_PERIOD, (period_id,)).fetchone()
    if row is None:
        raise LookupError(f"contract period {period_id} is gone from the ledger")
    return InDoubt(*row)


def unsealed(connection: Connection) -> list[InDoubt]:
    """Contract periods past their cut-off that are not sealed and have something to look at."""
    return [InDoubt(*row) for row in connection.execute(_UNSEALED).fetchall()]


def earlier(connection: Connection, contract: str, starts_at: datetime) -> list[InDoubt]:
    """The contract's earlier periods that are not sealed, oldest first."""
    return [InDoubt(*row) for row in connection.execute(_EARLIER, (contract, starts_at)).fetchall()]


def held(
    connection: Connection, found: Sequence[InDoubt], versions: Mapping[str, Sequence[Version]]
) -> dict[str, list[Readiness]]:
    """By billing period, why contract periods of it wait for a person, one entry each that does; those that
    wait for an older one of their contract come last. `versions` are of contracts that may make one wait."""
    waits: dict[str, list[Readiness]] = {}
    first: dict[str, InDoubt] = {}
    waiting: set[tuple[str, datetime]] = set()
    for each in found:
        known = versions.get(each.contract)
        readiness = None if known is None else each.awaits(known)
        if readiness is not None and not readiness.sealable:
            waits.setdefault(each.billing_period, []).append(readiness)
            first.setdefault(each.contract, each)
            waiting.add((each.contract, each.starts_at))
    rows = connection.execute(_LATER, (sorted(first),)).fetchall() if first else []
    for contract, billing_period, starts_at in rows:
        older = first[contract]
        if starts_at > older.starts_at and (contract, starts_at) not in waiting:
            waits.setdefault(billing_period, []).append(awaits_an_older(older.billing_period))
    return waits
