"""What the status is made of, as the ledger holds it: a handful of small indexed reads."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Final

from fleetmeter_api.contract import Contract
from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import billing_periods, calendar_of, period_name
from fleetmeter_rules.contracts import Version
from fleetmeter_rules.seal import Readiness
from fleetmeter_workers.ledger import backfills, contracts, doubts, offsets, periods, quarantine, reopenings
from fleetmeter_workers.ledger.backfills import Backfill
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.contracts import Refusal
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.offsets import PartitionOffset
from fleetmeter_workers.ledger.periods import PeriodSummary
from fleetmeter_workers.ledger.reopenings import Reopening

_LONG_SECONDS: Final = 0.1
_REST: Final = 20
_CLOCK_AND_SCHEMA: Final = (
    "SELECT clock_timestamp(), coalesce((SELECT max(version) FROM fleetmeter.schema_migration), 0)"
)
_CONTRACTS: Final = "SELECT count(DISTINCT contract) FROM fleetmeter.contract_version"
_PLANS: Final = "SELECT DISTINCT document ->> 'plan' FROM fleetmeter.contract_version ORDER BY 1"
_OWN_CALENDARS: Final = (
    "SELECT contract, version, loaded_at, document FROM fleetmeter.contract_version "
    "WHERE contract IN (SELECT contract FROM fleetmeter.contract_version "
    "WHERE document ?| '{timeZone,anchorDay,gracePeriodSeconds}') ORDER BY contract, version"
)
_WITHOUT_PERIOD: Final = (
    "SELECT EXISTS (SELECT FROM (SELECT DISTINCT ON (contract) contract, document "
    "FROM fleetmeter.contract_version ORDER BY contract, version DESC) AS latest "
    "WHERE (document ->> 'validFrom')::date < %s::timestamptz::date "
    "AND coalesce((document ->> 'validTo')::date, 'infinity') > %s::timestamptz::date "
    "AND NOT EXISTS (SELECT FROM fleetmeter.contract_period AS own WHERE own.contract = latest.contract "
    "AND own.billing_period = %s))"
)
_MAY_WAIT: Final = (
    "SELECT DISTINCT contract FROM fleetmeter.contract_version WHERE contract = ANY(%s) "
    "AND document ?| '{boundaryReviewThreshold,incompleteUsage}'"
)
_DAY: Final = timedelta(days=1)
"""A contract's zone moves its first and last instant by less than this."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The ledger at one moment, `now` by its own clock.

    `cut_offs`: the latest cut-off of a billing period's contract periods, where it is not the region's.
    `held`: by billing period, why contract periods of it wait for a person, one entry each. `unbegun`: of
    these billing periods, those in which a contract has no contract period yet, so that a close has to go on.
    `reopenings`: by billing period, the next amendments of its final contract periods, the first due first.
    """

    now: datetime
    schema_version: int
    offsets: Mapping[int, PartitionOffset]
    contracts_loaded: int
    plans: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    quarantined: dict[str, int]
    backfills: Mapping[str, Backfill]
    periods: Mapping[str, PeriodSummary]
    cut_offs: Mapping[str, datetime]
    held: Mapping[str, Sequence[Readiness]]
    unbegun: frozenset[str]
    reopenings: Mapping[str, Sequence[Reopening]]


class Summaries:
    """The sums of all billing periods.

    Where there are so many contract periods that reading them takes long, the last reading serves for a
    while, so that the status never costs more than a twentieth of a processor.
    """

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._lock = threading.Lock()
        self._found: dict[str, PeriodSummary] = {}
        self._good_until = 0.0

    def read(self, connection: Connection) -> Mapping[str, PeriodSummary]:
        """By billing period."""
        with self._lock:
            started = time.monotonic()
            if started < self._good_until:
                return self._found
            self._found = {each.billing_period: each for each in periods.summaries(connection)}
            took = time.monotonic() - started
            self._good_until = started + took * _REST if took > _LONG_SECONDS else 0.0
            return self._found


def read_numbers(connection: Connection, topic: str, region: Region, sums: Summaries) -> Numbers:
    """Read everything in one transaction."""
    with connection.transaction():
        now, schema_version = connection.execute(_CLOCK_AND_SCHEMA).fetchall()[0]
        summaries = sums.read(connection)
        held = _held(connection)
        return Numbers(
            now=now,
            schema_version=schema_version,
            offsets=offsets.read_offsets(connection, topic),
            contracts_loaded=connection.execute(_CONTRACTS).fetchall()[0][0],
            plans=tuple(plan for (plan,) in connection.execute(_PLANS).fetchall()),
            refusals=tuple(contracts.refusals(connection)),
            quarantined=quarantine.counts(connection),
            backfills=backfills.all_backfills(connection),
            periods=summaries,
            cut_offs=_cut_offs(connection, region, summaries.values(), now),
            held=held,
            unbegun=_unbegun(connection, (summaries[name] for name in held if name in summaries)),
            reopenings=_reopenings(connection),
        )


def _held(connection: Connection) -> Mapping[str, Sequence[Readiness]]:
    in_doubt = doubts.unsealed(connection)
    if not in_doubt:
        return {}
    named = connection.execute(_MAY_WAIT, (sorted({each.contract for each in in_doubt}),)).fetchall()
    versions = contracts.versions_of(connection, (contract for (contract,) in named))
    return doubts.held(connection, in_doubt, versions)


def _reopenings(connection: Connection) -> Mapping[str, Sequence[Reopening]]:
    found: dict[str, list[Reopening]] = {}
    for each in reopenings.pending(connection):
        found.setdefault(each.billing_period, []).append(each)
    return found


def _unbegun(connection: Connection, held: Iterable[PeriodSummary]) -> frozenset[str]:
    found: set[str] = set()
    for each in held:
        first, last = each.starts_at + _DAY, each.ends_at - _DAY
        row = connection.execute(_WITHOUT_PERIOD, (last, first, each.billing_period)).fetchone()
        if row is not None and row[0]:
            found.add(each.billing_period)
    return frozenset(found)


def _cut_offs(
    connection: Connection, region: Region, summaries: Iterable[PeriodSummary], now: datetime
) -> dict[str, datetime]:
    """The latest cut-off by billing period: of the rows, and of contracts with own terms and no row yet."""
    latest = {each.billing_period: each.cutoff_at for each in summaries}
    final = {each.billing_period for each in summaries if each.open + each.sealing == 0}
    versions: dict[str, list[Version]] = {}
    for contract, number, loaded_at, document in connection.execute(_OWN_CALENDARS).fetchall():
        versions.setdefault(contract, []).append(
            Version(number, loaded_at, Contract.model_validate(document))
        )
    book = ContractBook(region, {code: tuple(known) for code, known in versions.items()})
    unsealed = [name for name in _names(region, now) if name not in final] if len(book) else []
    for code, name in product(book.contracts, unsealed):
        for period in book.periods_of(code, name, now):
            latest[name] = max(period.cut_off, latest.get(name, period.cut_off))
    return latest


def _names(region: Region, now: datetime) -> list[str]:
    spec = region.spec.calendar
    found = billing_periods(calendar_of(spec), spec.first_period, spec.last_period, now)
    return [period_name(region.name, bounds, spec.interval) for bounds in found]
