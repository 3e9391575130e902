"""Duplicates by contract and hour, for metrics: the worst contracts by their codes, the rest as one."""

from dataclasses import dataclass
from typing import Final

from fleetmeter_workers.ledger.database import Connection

OTHER: Final = "other"
"""Stands for the contracts beyond the limit, and for customers that have none at the moment."""

_HOURS: Final = (
    "SELECT date_trunc('hour', now(), 'UTC') - interval '1 hour', date_trunc('hour', now(), 'UTC')"
)
_DUPLICATES: Final = (
    "WITH hourly AS (SELECT customer_id, hour, duplicates FROM fleetmeter.duplicate_hour "
    "WHERE hour IN (%(previous)s, %(current)s)), "
    "worst AS (SELECT customer_id FROM hourly GROUP BY customer_id "
    "ORDER BY sum(duplicates) DESC, customer_id LIMIT %(most)s), "
    "named AS (SELECT DISTINCT ON (customer_id) customer_id, contract FROM fleetmeter.contract_period "
    "WHERE customer_id IN (SELECT customer_id FROM worst) AND starts_at <= now() AND now() < ends_at "
    "ORDER BY customer_id, starts_at DESC) "
    "SELECT coalesce(contract, %(other)s), hour = %(current)s, sum(duplicates)::bigint "
    "FROM hourly LEFT JOIN named USING (customer_id) GROUP BY 1, 2 ORDER BY 1, 2"
)
_EVENTS: Final = (
    "SELECT contract, hour = %(current)s, sum(events)::bigint FROM fleetmeter.contract_period "
    "JOIN fleetmeter.usage_hour USING (period_id) "
    "WHERE contract = ANY(%(contracts)s) AND starts_at <= now() AND ends_at > %(previous)s "
    "AND hour IN (%(previous)s, %(current)s) GROUP BY 1, 2"
)


@dataclass(frozen=True, slots=True)
class HourOfContract:
    """Copies received in an hour and, but for OTHER, billed events that happened in it. `current`: the hour
    that runs; else the one before."""

    contract: str
    current: bool
    duplicates: int
    events: int | None


def last_hours(connection: Connection, most: int) -> list[HourOfContract]:
    """The current hour and the one before, by contract: the `most` with the most duplicates, then OTHER."""
    ((previous, current),) = connection.execute(_HOURS).fetchall()
    asked = {"previous": previous, "current": current, "most": most, "other": OTHER}
    found = connection.execute(_DUPLICATES, asked).fetchall()
    contracts = sorted({contract for contract, _, _ in found} - {OTHER})
    rows = connection.execute(_EVENTS, asked | {"contracts": contracts}).fetchall() if contracts else []
    events = {(contract, is_current): count for contract, is_current, count in rows}
    return [
        HourOfContract(
            contract,
            is_current,
            duplicates,
            None if contract == OTHER else events.get((contract, is_current), 0),
        )
        for contract, is_current, duplicates in found
    ]
