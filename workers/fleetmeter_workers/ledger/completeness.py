"""Completeness of contract periods: numbers that devices counted and that are not held; silent devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleetmeter_rules.completeness import Completeness, Gap, bound_in
from fleetmeter_rules.contracts import Terms
from fleetmeter_workers.ledger import registry
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod

MOST_GAPS: Final = 20
"""How many gaps of a device and epoch are listed."""

_SURVEY: Final = (
    "WITH spans AS MATERIALIZED (SELECT *, last - since + 1 AS counted "
    "FROM fleetmeter.sequence_spans(%(period)s, %(after)s)), "
    "sums AS (SELECT coalesce(sum(counted), 0)::bigint AS counted, coalesce(sum(held), 0)::bigint AS held "
    "FROM spans), "
    "incomplete AS (SELECT device_id, alias, stem, layout, since, last, counted, held FROM spans "
    "JOIN fleetmeter.device USING (device_id) WHERE held < counted "
    "ORDER BY device_id, stem, layout LIMIT %(limit)s) "
    "SELECT sums.counted, sums.held, incomplete.* FROM sums LEFT JOIN incomplete ON true "
    "ORDER BY device_id, stem, layout"
)
_GAPS: Final = (
    "SELECT previous + 1, sequence - 1 FROM (SELECT sequence, lag(sequence, 1, %(since)s - 1) "
    "OVER (ORDER BY sequence) AS previous FROM (SELECT DISTINCT fleetmeter.key_sequence(event_key) "
    "AS sequence FROM fleetmeter.event WHERE event_key BETWEEN fleetmeter.key_from(%(stem)s, %(since)s) "
    "AND fleetmeter.key_to(%(stem)s, %(last)s) "
    "AND get_byte(uuid_send(event_key), 14) >> 4 = %(layout)s) AS held) AS runs "
    "WHERE sequence > previous + 1 ORDER BY 1 LIMIT %(limit)s"
)
_SILENT: Final = (
    "SELECT DISTINCT device_id, uid, alias FROM fleetmeter.device_binding AS bound "
    "JOIN fleetmeter.customer USING (customer_id) JOIN fleetmeter.device USING (device_id) "
    "WHERE code = %(customer)s AND device_id > %(after)s AND registered_at IS NOT NULL "
    "AND valid_from < %(end)s AND valid_to > %(start)s "
    "AND NOT EXISTS (SELECT FROM fleetmeter.event WHERE event.period_id = %(period)s "
    "AND event.device_id = bound.device_id AND verdict = 0) "
    "AND NOT EXISTS (SELECT FROM fleetmeter.quarantine WHERE quarantine.period_id = %(period)s "
    "AND quarantine.device_id = bound.device_id) "
    "ORDER BY device_id"
)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a contract period in which its contract is in force: start <= t < end."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Check:
    """What a look at a contract period found, over all its devices."""

    counted: int
    held: int
    silent: int

    @property
    def missing(self) -> int:
        """How many numbers are not held."""
        return self.counted - self.held


@dataclass(frozen=True, slots=True)
class Finding:
    """A device with gaps in one epoch or session, or a silent one (`found` is None).

    `gaps` of `found` are the first few. `device_id` orders findings and is not for people.
    """

    device_id: int
    alias: str
    epoch: str
    found: Completeness | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A look at devices of a period: its counts, and the first findings."""

    check: Check
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """A device's numbers in one epoch or session, from `since` to `last`, of which some are not held."""

    device_id: int
    alias: str
    stem: bytes
    layout: int
    since: int
    last: int
    counted: int
    held: int


def window_of(terms: Terms, period: ContractPeriod) -> Window:
    """The part of the period in which its contract is in force."""
    end = period.ends_at if terms.valid_to is None else min(period.ends_at, terms.valid_to)
    return Window(max(period.starts_at, terms.valid_from), end)


def look(connection: Connection, period: ContractPeriod, window: Window) -> Check:
    """Look at the whole period, and keep what was found unless it is final. As long as to read its rows."""
    return survey(connection, period, window, limit=0).check


def survey(
    connection: Connection, period: ContractPeriod, window: Window, after: int = 0, limit: int = 1000
) -> Survey:
    """Look at the period's devices behind the device `after`, and list about `limit` of what was found.

    From the first device on it is a look at the whole period: its counts are kept unless it is final.
    """
    rows = connection.execute(
        _SURVEY, {"period": period.period_id, "after": after, "limit": limit + 1}
    ).fetchall()
    silent = _silent(connection, period, window, after)
    check = Check(rows[0][0], rows[0][1], len(silent))
    if after == 0 and period.phase != "final":
        _note(connection, period.period_id, check)
    spans = [_Span(*row[2:]) for row in rows if row[2] is not None]
    return Survey(check, _findings(connection, spans, silent, limit) if limit else ())


def _findings(
    connection: Connection, rows: Sequence[_Span], silent: Sequence[tuple[int, str]], limit: int
) -> tuple[Finding, ...]:
    """The first ones by device, whole devices only, unless a single one fills the page."""
    entries: list[tuple[int, str, _Span | None]] = [(row.device_id, row.alias, row) for row in rows]
    if len(rows) > limit:
        # Behind the last row that was read there may be more of it, and silent devices before it.
        silent = [each for each in silent if each[0] <= rows[-1].device_id]
    entries += [(device_id, alias, None) for device_id, alias in silent]
    entries.sort(key=lambda entry: entry[0])
    if len(entries) > limit:
        whole = [entry for entry in entries[:limit] if entry[0] != entries[limit][0]]
        entries = whole or entries[:limit]
    return tuple(_finding(connection, *entry) for entry in entries)


def _finding(connection: Connection, device_id: int, alias: str, span: _Span | None) -> Finding:
    if span is None:
        return Finding(device_id, alias, "", None)
    gaps = connection.execute(
        _GAPS,
        {
            "stem": span.stem,
            "layout": span.layout,
            "since": span.since,
            "last": span.last,
            "limit": MOST_GAPS,
        },
    ).fetchall()
    found = Completeness(span.counted, span.held, tuple(Gap(*gap) for gap in gaps))
    return Finding(device_id, alias, _epoch(span.stem, span.layout), found)


def _note(connection: Connection, period_id: int, found: Check) -> None:
    connection.execute(
        "INSERT INTO fleetmeter.period_completeness (period_id, counted, held, missing, silent) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (period_id) DO UPDATE SET checked_at = now(), "
        "counted = excluded.counted, held = excluded.held, missing = excluded.missing, "
        "silent = excluded.silent",
        (period_id, found.counted, found.held, found.missing, found.silent),
    )


def take(connection: Connection, period_id: int, found: Check, actor: str) -> bool:
    """Record that a person takes the period as it is; False if as much was taken before."""
    row = connection.execute(
        "INSERT INTO fleetmeter.incomplete_decision (period_id, missing, silent, actor) "
        "SELECT %(period)s, %(missing)s, %(silent)s, %(actor)s WHERE NOT EXISTS "
        "(SELECT FROM (SELECT missing, silent FROM fleetmeter.incomplete_decision "
        "WHERE period_id = %(period)s ORDER BY decision_id DESC LIMIT 1) AS last "
        "WHERE last.missing >= %(missing)s AND last.silent >= %(silent)s) RETURNING 1",
        {"period": period_id, "missing": found.missing, "silent": found.silent, "actor": actor},
    ).fetchone()
    return row is not None


def was_looked_at(connection: Connection, period: ContractPeriod) -> bool:
    """Whether anyone has looked at the period since its cut-off."""
    row = connection.execute(
        "SELECT FROM fleetmeter.period_completeness WHERE period_id = %s AND checked_at >= %s",
        (period.period_id, period.cutoff_at),
    ).fetchone()
    return row is not None


def oldest_look(connection: Connection) -> int | None:
    """The contract period that has ended, is not final, and was not looked at for the longest time."""
    row = connection.execute(
        "SELECT period_id FROM fleetmeter.contract_period LEFT JOIN fleetmeter.period_completeness "
        "USING (period_id) WHERE phase <> 'final' AND ends_at <= clock_timestamp() "
        "ORDER BY checked_at NULLS FIRST, period_id LIMIT 1"
    ).fetchone()
    return None if row is None else row[0]


def _silent(
    connection: Connection, period: ContractPeriod, window: Window, after: int
) -> list[tuple[int, str]]:
    """Devices that were the customer's in the window, and of which nothing is in the period."""
    rows = connection.execute(
        _SILENT,
        {
            "customer": period.customer,
            "start": window.start,
            "end": window.end,
            "period": period.period_id,
            "after": after,
        },
    ).fetchall()
    devices = registry.find_devices(connection, (uid for _, uid, _ in rows))
    return [
        (device_id, alias)
        for device_id, uid, alias in rows
        if bound_in(devices[uid].bindings, period.customer, window.start, window.end)
    ]


def _epoch(stem: bytes, layout: int) -> str:
    """The epoch or session as people know it: a boot's number, a LoRaWAN address, nothing."""
    if layout == 1:
        return f"addr:{stem[4:].hex()}"
    return "" if layout == 2 else f"epoch:{int.from_bytes(stem[4:], 'big')}"
