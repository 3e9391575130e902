"""Boundary candidates: billed events that may belong to a neighbouring period, and what was decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from fleetmeter_workers.ledger.arrays import Arrays
from fleetmeter_workers.ledger.database import Connection

_CANDIDATES: Final = (
    "SELECT page.event_key, page.period_id, alias, uid, "
    "fleetmeter.source_reference(alias, page.event_key, canonical), event_at, received_at, "
    "uncertainty * interval '1 second', time_method, evidence, metric.code, quantity, "
    "boundary_decision.actor, decided_at, moved_to "
    "FROM page JOIN fleetmeter.event ON event.event_key = page.event_key "
    "JOIN fleetmeter.device USING (device_id) JOIN fleetmeter.metric USING (metric_id) "
    "LEFT JOIN fleetmeter.boundary_decision ON boundary_decision.event_key = page.event_key "
    "ORDER BY page.period_id, page.event_key"
)
# The page is chosen by keys alone, period by period, before anything else is read.
_OF_BILLING_PERIOD: Final = (
    "WITH page AS MATERIALIZED (SELECT booked.period_id, chosen.event_key "  # noqa: S608  constants only
    "FROM fleetmeter.contract_period AS booked CROSS JOIN LATERAL ("
    "SELECT event_key FROM fleetmeter.boundary_candidate AS own WHERE own.period_id = booked.period_id "
    "AND (booked.period_id > %(period)s OR own.event_key > %(key)s) "
    "AND (NOT %(undecided)s OR NOT EXISTS (SELECT FROM fleetmeter.boundary_decision AS made "
    "WHERE made.event_key = own.event_key)) ORDER BY own.event_key LIMIT %(limit)s) AS chosen "
    "WHERE booked.billing_period = %(name)s AND booked.period_id >= %(period)s "
    "AND (%(contract)s::text IS NULL OR booked.contract = %(contract)s) "
    "ORDER BY booked.period_id, chosen.event_key LIMIT %(limit)s) " + _CANDIDATES
)
_NAMED: Final = (
    "WITH page AS MATERIALIZED (SELECT own.period_id, own.event_key "
    "FROM fleetmeter.event JOIN fleetmeter.boundary_candidate AS own "
    "ON own.period_id = event.period_id AND own.event_key = event.event_key "
    "WHERE event.event_key = ANY(%s)) " + _CANDIDATES
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A billed event in doubt. `uid` is for looking its owners up and is never shown; `evidence` is that of
    its time, packed. `actor` and `decided_at` are None while no decision stands, `moved_to` is the period
    that it was moved to."""

    event_key: UUID
    period_id: int
    alias: str
    uid: str
    reference: str
    event_at: datetime
    received_at: datetime
    uncertainty: timedelta
    time_method: int
    evidence: int
    metric: str
    quantity: Decimal
    actor: str | None
    decided_at: datetime | None
    moved_to: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """A decision about an event, or the taking back of the one before it (`undone`)."""

    undone: bool
    moved_to: int | None
    actor: str
    at: datetime


def add(connection: Connection, found: Sequence[tuple[int, bytes]]) -> None:
    """Note (period id, event key) of events that the same transaction adds."""
    ordered = sorted(found)
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            "INSERT INTO fleetmeter.boundary_candidate (period_id, event_key) "
            "SELECT * FROM unnest(%b::int4[], %b::uuid[])",
            (Arrays.integers([period for period, _ in ordered]), Arrays.uuids([key for _, key in ordered])),
        )


def listed(
    connection: Connection,
    billing_period: str,
    contract: str | None = None,
    after: tuple[int, UUID] | None = None,
    limit: int = 1000,
    *,
    undecided: bool = False,
) -> list[Candidate]:
    """Candidates of the billing period's contract periods, by period id and key, `limit` of them after
    `after`."""
    period, key = after or (0, UUID(int=0))
    rows = connection.execute(
        _OF_BILLING_PERIOD,
        {
            "name": billing_period,
            "contract": contract,
            "period": period,
            "key": key,
            "undecided": undecided,
            "limit": limit,
        },
    ).fetchall()
    return [Candidate(*row) for row in rows]


def named(connection: Connection, keys: Sequence[UUID]) -> list[Candidate]:
    """The candidates of these keys."""
    rows = connection.execute(_NAMED, (list(keys),)).fetchall()
    return [Candidate(*row) for row in rows]


def undecided_periods(connection: Connection, billing_period: str, contract: str | None) -> list[int]:
    """The billing period's contract periods (of the contract) that are not final and have such candidates."""
    rows = connection.execute(
        "SELECT period_id FROM fleetmeter.contract_period JOIN fleetmeter.period_count USING (period_id) "
        "WHERE billing_period = %(name)s AND (%(contract)s::text IS NULL OR contract = %(contract)s) "
        "AND phase = 'open' AND boundary > reviewed ORDER BY period_id",
        {"name": billing_period, "contract": contract},
    ).fetchall()
    return [period_id for (period_id,) in rows]


def decide(
    connection: Connection, period_id: int, keys: Sequence[UUID] | None, moved_to: int | None, actor: str
) -> int:
    """Decide candidates of the period, all where `keys` is None; returns how many were decided just now.

    One whose decision stands keeps it. The sums move with the events. Raises psycopg's
    ObjectNotInPrerequisiteState, with a sentence and a remedy, where a period is sealed or an event that
    moves is credited; LockNotAvailable while one is being sealed.
    """
    row = connection.execute(
        "SELECT fleetmeter.decide_boundary(%s, %s::uuid[], %s, %s)",
        (period_id, None if keys is None else list(keys), moved_to, actor),
    ).fetchone()
    return row[0] if row else 0


def undo(connection: Connection, keys: Sequence[UUID], actor: str) -> int:
    """Take back the decisions about these events that stand, and their sums with them; returns how many were
    taken back just now. Raises what `decide` raises, and then takes back none."""
    row = connection.execute(
        "SELECT fleetmeter.undo_boundary(%s::uuid[], %s)", (list(keys), actor)
    ).fetchone()
    return row[0] if row else 0


def history(connection: Connection, keys: Sequence[UUID]) -> dict[UUID, list[Step]]:
    """What was decided and taken back about each of these events that has anything, in order."""
    rows = connection.execute(
        "SELECT event_key, undone, moved_to, actor, decided_at FROM fleetmeter.boundary_history "
        "WHERE event_key = ANY(%s) ORDER BY event_key, step",
        (list(keys),),
    ).fetchall()
    found: dict[UUID, list[Step]] = {}
    for key, *step in rows:
        found.setdefault(key, []).append(Step(*step))
    return found
