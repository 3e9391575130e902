"""Contract periods: rows made on demand, locked against the seal, counted, and sealed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_workers.ledger.contract_book import PeriodTerms
from fleetmeter_workers.ledger.database import Connection

Phase = Literal["open", "sealing", "final"]

_SELECT: Final = (
    "SELECT period_id, contract, customer.code, billing_period, starts_at, ends_at, cutoff_at, "
    "late_usage, phase, revision, sealed_at "
    "FROM fleetmeter.contract_period JOIN fleetmeter.customer USING (customer_id) "
)
_BY_KEY: Final = (
    _SELECT + "JOIN unnest(%s::text[], %s::timestamptz[]) AS wanted (code, start) "
    "ON contract = wanted.code AND starts_at = wanted.start"
)
_BY_BILLING_PERIOD: Final = _SELECT + "WHERE billing_period = %s ORDER BY contract, starts_at"
_BY_ID: Final = _SELECT + "WHERE period_id = %s"
_BY_CUSTOMER: Final = _SELECT + "WHERE customer.code = %s AND starts_at >= %s ORDER BY starts_at, contract"
_BY_IDS: Final = _SELECT + "WHERE period_id = ANY(%s) ORDER BY starts_at, contract"


@dataclass(frozen=True, slots=True)
class ContractPeriod:
    """A contract period as the ledger holds it."""

    period_id: int
    contract: str
    customer: str
    billing_period: str
    starts_at: datetime
    ends_at: datetime
    cutoff_at: datetime
    late_usage: LateUsagePolicy
    phase: Phase
    revision: int
    sealed_at: datetime | None

    @property
    def key(self) -> tuple[str, datetime]:
        """What tells contract periods apart: the contract and the start."""
        return self.contract, self.starts_at


@dataclass(frozen=True, slots=True)
class PeriodCount:
    """What contract periods hold: billed events, late ones (billed or set aside), copies, set aside.

    `boundary`: events booked here that may have happened in a neighbouring period, moved ones too.
    `reviewed`: of these, how many a person has decided.
    """

    events: int = 0
    late: int = 0
    duplicates: int = 0
    quarantined: int = 0
    boundary: int = 0
    reviewed: int = 0


@dataclass(frozen=True, slots=True)
class PeriodSummary:
    """All contract periods of one billing period together; numbers only.

    `missing`, `silent`: numbers that devices counted and that are not held, and devices without any event,
    as last looked at.
    """

    billing_period: str
    starts_at: datetime
    ends_at: datetime
    cutoff_at: datetime
    open: int
    sealing: int
    final: int
    count: PeriodCount
    invoices: int
    missing: int
    silent: int


def ensure(connection: Connection, wanted: Iterable[PeriodTerms], customers: dict[str, int]) -> None:
    """Make the rows of contract periods that have none; call it inside a transaction."""
    for terms in sorted(set(wanted), key=lambda terms: terms.key):
        connection.execute(
            "INSERT INTO fleetmeter.contract_period "
            "(contract, customer_id, billing_period, starts_at, ends_at, cutoff_at, late_usage) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (contract, starts_at) DO NOTHING",
            (
                terms.contract,
                customers[terms.customer],
                terms.billing_period,
                terms.bounds.start,
                terms.bounds.end,
                terms.cut_off,
                terms.late_usage,
            ),
        )


def find(
    connection: Connection, keys: Iterable[tuple[str, datetime]]
) -> dict[tuple[str, datetime], ContractPeriod]:
    """The contract periods of these keys that have a row."""
    wanted = sorted(set(keys))
    rows = connection.execute(
        _BY_KEY, ([contract for contract, _ in wanted], [start for _, start in wanted])
    ).fetchall()
    return {found.key: found for found in (ContractPeriod(*row) for row in rows)}


def hold(connection: Connection, period_ids: Iterable[int]) -> dict[int, tuple[Phase, int]]:
    """Phase and last sealed revision of these periods, held until the transaction ends: nobody seals them
    meanwhile."""
    rows = connection.execute(
        "SELECT period_id, phase, revision FROM fleetmeter.contract_period WHERE period_id = ANY(%s) "
        "ORDER BY period_id FOR SHARE",
        (sorted(set(period_ids)),),
    ).fetchall()
    return {period_id: (phase, revision) for period_id, phase, revision in rows}


def of_billing_period(connection: Connection, billing_period: str) -> list[ContractPeriod]:
    """The contract periods that the billing period groups, in contract order."""
    rows = connection.execute(_BY_BILLING_PERIOD, (billing_period,)).fetchall()
    return [ContractPeriod(*row) for row in rows]


def lock_for_seal(connection: Connection, period_id: int) -> ContractPeriod:
    """The period, locked against every consumer and closer until the transaction ends."""
    connection.execute("SELECT FROM fleetmeter.contract_period WHERE period_id = %s FOR UPDATE", (period_id,))
    row = connection.execute(_BY_ID, (period_id,)).fetchone()
    if row is None:
        raise LookupError(f"contract period {period_id} is gone from the ledger")
    return ContractPeriod(*row)


def of_ids(connection: Connection, period_ids: Iterable[int]) -> list[ContractPeriod]:
    """These contract periods, oldest first."""
    rows = connection.execute(_BY_IDS, (sorted(set(period_ids)),)).fetchall()
    return [ContractPeriod(*row) for row in rows]


def of_customer(connection: Connection, customer: str, since: datetime) -> list[ContractPeriod]:
    """The customer's contract periods that start at `since` or later, oldest first."""
    rows = connection.execute(_BY_CUSTOMER, (customer, since)).fetchall()
    return [ContractPeriod(*row) for row in rows]


def set_revision(connection: Connection, period_id: int, revision: int) -> None:
    """Note the last sealed revision of a final period."""
    connection.execute(
        "UPDATE fleetmeter.contract_period SET revision = %s WHERE period_id = %s", (revision, period_id)
    )


def set_phase(connection: Connection, period_id: int, phase: Phase) -> None:
    """Move the period on; `final` notes the time."""
    connection.execute(
        "UPDATE fleetmeter.contract_period SET phase = %(phase)s, "
        "sealed_at = CASE WHEN %(phase)s = 'final' THEN now() END WHERE period_id = %(id)s",
        {"phase": phase, "id": period_id},
    )


def add_counts(connection: Connection, counts: dict[int, PeriodCount]) -> None:
    """Add to what each period holds, in the order of their ids."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleetmeter.period_count AS held (period_id, events, late, duplicates, quarantined, "
            "boundary) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (period_id) DO UPDATE SET events = held.events + "
            "excluded.events, "
            "late = held.late + excluded.late, duplicates = held.duplicates + excluded.duplicates, "
            "quarantined = held.quarantined + excluded.quarantined, "
            "boundary = held.boundary + excluded.boundary",
            [
                (i, c.events, c.late, c.duplicates, c.quarantined, c.boundary)
                for i, c in sorted(counts.items())
            ],
        )


def count_resolved(connection: Connection, period_id: int, *, late: bool) -> None:
    """Count one event that a person had billed in the period."""
    connection.execute(
        "INSERT INTO fleetmeter.period_count AS held (period_id, events, late) VALUES (%s, 1, %s) "
        "ON CONFLICT (period_id) DO UPDATE SET events = held.events + 1, late = held.late + excluded.late",
        (period_id, int(late)),
    )


def count_of(connection: Connection, period_id: int) -> PeriodCount:
    """What the period holds."""
    row = connection.execute(
        "SELECT events, late, duplicates, quarantined, boundary, reviewed FROM fleetmeter.period_count "
        "WHERE period_id = %s",
        (period_id,),
    ).fetchone()
    return PeriodCount(*row) if row else PeriodCount()


def total_of(connection: Connection, billing_period: str) -> PeriodCount:
    """What the billing period's contract periods hold together."""
    row = connection.execute(
        "SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(late), 0)::bigint, "
        "coalesce(sum(duplicates), 0)::bigint, coalesce(sum(quarantined), 0)::bigint, "
        "coalesce(sum(boundary), 0)::bigint, coalesce(sum(reviewed), 0)::bigint "
        "FROM fleetmeter.contract_period JOIN fleetmeter.period_count USING (period_id) "
        "WHERE billing_period = %s",
        (billing_period,),
    ).fetchone()
    return PeriodCount(*row) if row else PeriodCount()


def billing_periods_of(connection: Connection, period_ids: Iterable[int]) -> dict[int, str]:
    """The names of the billing periods that these contract periods belong to."""
    rows = connection.execute(
        "SELECT period_id, billing_period FROM fleetmeter.contract_period WHERE period_id = ANY(%s)",
        (sorted(set(period_ids)),),
    ).fetchall()
    return dict(rows)


def summaries(connection: Connection) -> Sequence[PeriodSummary]:
    """Every billing period that has contract periods, oldest first, with its counts."""
    rows = connection.execute(
        "WITH invoices AS (SELECT billing_period, count(*) AS number FROM fleetmeter.invoice GROUP BY 1) "
        "SELECT billing_period, min(starts_at), max(ends_at), max(cutoff_at), "
        "count(*) FILTER (WHERE phase = 'open'), count(*) FILTER (WHERE phase = 'sealing'), "
        "count(*) FILTER (WHERE phase = 'final'), coalesce(max(invoices.number), 0), "
        "coalesce(sum(events), 0)::bigint, coalesce(sum(late), 0)::bigint, "
        "coalesce(sum(duplicates), 0)::bigint, coalesce(sum(quarantined), 0)::bigint, "
        "coalesce(sum(boundary), 0)::bigint, coalesce(sum(reviewed), 0)::bigint, "
        "coalesce(sum(missing), 0)::bigint, coalesce(sum(silent), 0)::bigint "
        "FROM fleetmeter.contract_period LEFT JOIN fleetmeter.period_count USING (period_id) "
        "LEFT JOIN fleetmeter.period_completeness USING (period_id) "
        "LEFT JOIN invoices USING (billing_period) "
        "GROUP BY billing_period ORDER BY min(starts_at), billing_period"
    ).fetchall()
    return [
        PeriodSummary(
            name, starts, ends, cut_off, opened, sealing, final, PeriodCount(*counts), number, missing, silent
        )
        for name, starts, ends, cut_off, opened, sealing, final, number, *counts, missing, silent in rows
    ]
