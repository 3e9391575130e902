"""A contract period's rows as the seal sees them: reconciled with the sums, measured, and digested."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from fleetmeter_api.region import Region
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.invoice import DeviceUsage, Snapshot
from fleetmeter_rules.seal import Digest, SealedRow
from fleetmeter_workers.close.plans import DataError
from fleetmeter_workers.ledger import events, periods, snapshots, usage
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import DeviceSum
from fleetmeter_workers.ledger.late_usage import LateSum
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.metering import measure


def bounds_of(period: ContractPeriod) -> Bounds:
    """The period's span; its first day is that of UTC and names nothing here."""
    return Bounds(period.starts_at, period.ends_at, period.starts_at.date())


def reconcile(connection: Connection, period: ContractPeriod, entries: Sequence[LateSum]) -> list[DeviceSum]:
    """Rows against roll-ups, once, before anything is priced: all rows of the period, whatever bills them.

    `entries`: its late usage. Returns the events' sums by device. Raises DataError where they differ.
    """
    sums = events.device_sums(connection, period.period_id)
    rows = _by_metric([*sums, *(each.sum for each in entries if each.resolved)])
    hours = {
        each.metric: (each.events, each.quantity) for each in usage.metric_sums(connection, period.period_id)
    }
    wrong = sorted(name for name in {*rows, *hours} if rows.get(name) != hours.get(name))
    if wrong:
        raise DataError(
            f"the hourly sums of a contract period of {period.billing_period} differ from its rows in "
            f"{', '.join(wrong)}"
        )
    counted = periods.count_of(connection, period.period_id).events
    total = sum(count for count, _ in rows.values())
    if counted != total:
        raise DataError(
            f"a contract period of {period.billing_period} counts {counted} billed events, but has {total} "
            "rows"
        )
    return sums


def own_usage(
    connection: Connection,
    region: Region,
    period: ContractPeriod,
    revision: int,
    entries: Sequence[LateSum],
    sums: Sequence[DeviceSum] | None = None,
) -> list[DeviceUsage]:
    """What the period's devices used in it, up to this revision. `entries`: its late usage; `sums`: of all
    its events, where they are known already. In a transaction."""
    deferred = any(not each.resolved for each in entries)
    if sums is None or deferred or snapshots.is_reopened(connection, period.period_id, revision):
        sums = snapshots.own_sums(connection, period.period_id, revision)
    resolved = [
        each.sum for each in entries if each.period_id == period.period_id and each.revision <= revision
    ]
    sealed = replace(period, revision=revision)
    found = measure.measured_sums(connection, region, sealed, merged([*sums, *resolved]), bounds_of(period))
    return as_usage(found)


def snapshot(connection: Connection, period_id: int, revision: int, *, adjustments: bool) -> Snapshot:
    """The frozen rows of an invoice: the period's own up to this revision and, with `adjustments`, what it
    bills of earlier periods. In a transaction."""
    digest = Digest()
    for row in snapshots.rows(connection, period_id, revision, adjustments=adjustments):
        digest.add(SealedRow(row.alias, row.event_id, row.metric, row.quantity, row.event_at))
    return Snapshot(digest.events, digest.text())


def as_usage(sums: Iterable[DeviceSum]) -> list[DeviceUsage]:
    """The sums as the rules know them."""
    return [DeviceUsage(s.alias, s.metric, s.quantity, s.events, s.first_event, s.last_event) for s in sums]


def merged(sums: Iterable[DeviceSum]) -> list[DeviceSum]:
    """One sum a device and metric."""
    found: dict[tuple[str, str], DeviceSum] = {}
    for each in sums:
        known = found.get((each.alias, each.metric))
        found[each.alias, each.metric] = (
            each
            if known is None
            else DeviceSum(
                each.alias,
                each.metric,
                known.quantity + each.quantity,
                known.events + each.events,
                min(known.first_event, each.first_event),
                max(known.last_event, each.last_event),
            )
        )
    return list(found.values())


def _by_metric(sums: Iterable[DeviceSum]) -> dict[str, tuple[int, Decimal]]:
    """Rows and quantity by metric."""
    found: dict[str, tuple[int, Decimal]] = {}
    for each in sums:
        count, quantity = found.get(each.metric, (0, Decimal(0)))
        found[each.metric] = (count + each.events, quantity + each.quantity)
    return found
