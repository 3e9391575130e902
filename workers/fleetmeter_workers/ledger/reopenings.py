"""Reopenings: the revisions of contract periods that hold late usage, and when each is to be sealed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleetmeter_workers.ledger.database import Connection


@dataclass(frozen=True, slots=True)
class Reopening:
    """The next amendment of a final contract period."""

    billing_period: str
    period_id: int
    revision: int
    due_at: datetime


def add(connection: Connection, due: Mapping[tuple[int, int], datetime]) -> None:
    """Note that these revisions, by (period id, revision), have usage; the first date that was noted
    stays."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleetmeter.reopening (period_id, revision, due_at) VALUES (%s, %s, %s) "
            "ON CONFLICT (period_id, revision) DO NOTHING",
            [(period_id, revision, due_at) for (period_id, revision), due_at in sorted(due.items())],
        )


def pending(connection: Connection) -> list[Reopening]:
    """The next amendment of each final period that has late usage, by billing period and due date."""
    rows = connection.execute(
        "SELECT DISTINCT ON (period_id) billing_period, period_id, reopening.revision, due_at "
        "FROM fleetmeter.reopening JOIN fleetmeter.contract_period USING (period_id) "
        "WHERE phase = 'final' AND reopening.revision > contract_period.revision "
        "ORDER BY period_id, reopening.revision"
    ).fetchall()
    return sorted((Reopening(*row) for row in rows), key=lambda each: (each.billing_period, each.due_at))


def next_of(connection: Connection, period_id: int) -> Reopening | None:
    """The next amendment of this final period; None where no late usage waits."""
    row = connection.execute(
        "SELECT billing_period, period_id, reopening.revision, due_at "
        "FROM fleetmeter.reopening JOIN fleetmeter.contract_period USING (period_id) "
        "WHERE period_id = %s AND phase = 'final' AND reopening.revision > contract_period.revision "
        "ORDER BY reopening.revision LIMIT 1",
        (period_id,),
    ).fetchone()
    return None if row is None else Reopening(*row)
