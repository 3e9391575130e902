"""What a contract period's rows amount to by each metric's kind: sums, registers' steps, sensors' levels.

A register's consumption belongs to whoever owned the device at the later reading. So a buyer's first reading
goes on from the seller's last one: the meter did run between them, and the sale has no reading of its own. A
level says nothing of another owner's time: a sensor's opening level is one of the same customer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, TypeAlias

from fleetmeter_api.region import Metric, Region
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.metering import Booking, Note, Reading, Step, delta, level, register_of, settled
from fleetmeter_workers.ledger import readings
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import DeviceSum
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.readings import Key, Row, Scale
from fleetmeter_workers.metering.around import Surroundings

_CHUNK: Final = 20_000


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a device's registers of one metric consumed: a step for each reading of the period, and for each
    that came late and belongs to an earlier one."""

    device_id: int
    alias: str
    metric: str
    steps: tuple[Step, ...]
    late_steps: tuple[Step, ...] = ()

    def own(self, bounds: Bounds | None = None) -> Decimal:
        """The consumption of the period, or of a part of it."""
        return delta(step.consumed for step in self.steps if bounds is None or step.at in bounds)

    def late(self, earlier: Bounds) -> Decimal:
        """What readings that came late add to an earlier period."""
        return delta(step.consumed for step in self.late_steps if step.at in earlier)


@dataclass(frozen=True, slots=True)
class Level:
    """A device's level of one metric: the readings that the period bills, and those booked before."""

    device_id: int
    alias: str
    gauge: Metric
    period: Bounds
    readings: tuple[Reading, ...]
    known: tuple[Reading, ...]

    @property
    def metric(self) -> str:
        """The metric's code."""
        return self.gauge.code

    def own(self, bounds: Bounds | None = None) -> Decimal:
        """The level in the period, or in a part of it."""
        return level((*self.known, *self.readings), self.gauge, bounds or self.period)

    def late(self, earlier: Bounds) -> Decimal:
        """By how much readings that came late change the level of an earlier period; below 0 where they lower
        it."""
        return self.own(earlier) - level(self.known, self.gauge, earlier)


Measured: TypeAlias = Consumption | Level


def measured_sums(
    connection: Connection,
    region: Region,
    period: ContractPeriod,
    sums: Sequence[DeviceSum],
    bounds: Bounds | None = None,
) -> list[DeviceSum]:
    """The same sums with the quantity of each by its metric's kind; a delta's stays as it is. In a
    transaction.

    `bounds`: of an earlier period, where the sums are of its usage that came late and this one bills. Units
    that slipped are kept for the periods to come.
    """
    metrics = read_metrics(region)
    if not any(each.metric in metrics for each in sums):
        return list(sums)
    earlier = bounds if bounds is not None and bounds.start != period.starts_at else None
    found: dict[tuple[str, str], Decimal] = {}
    slips: list[Scale] = []
    for one in measured(connection, metrics, period):
        found[one.alias, one.metric] = one.own() if earlier is None else one.late(earlier)
        if isinstance(one, Consumption):
            slips.extend(_slips(one))
    if slips:
        readings.add_scales(connection, period.period_id, slips)
    return [
        replace(each, quantity=found[each.alias, each.metric]) if each.metric in metrics else each
        for each in sums
    ]


def read_metrics(region: Region) -> dict[str, Metric]:
    """The region's metrics that are read and not added up, by code."""
    return {metric.code: metric for metric in region.spec.metrics if metric.kind != "Delta"}


def measured(
    connection: Connection, metrics: Mapping[str, Metric], period: ContractPeriod
) -> Iterator[Measured]:
    """Every device's measure of these metrics, from the period's rows. Memory holds some devices at a
    time. In a transaction."""
    chunk: list[list[Row]] = []
    held = 0
    surroundings = Surroundings(connection, metrics, period)
    rows = readings.of_period(connection, period, list(metrics))
    for _, own in groupby(rows, key=lambda row: (row.device_id, row.metric)):
        chunk.append(list(own))
        held += len(chunk[-1])
        if held >= _CHUNK:
            yield from _measure(connection, surroundings, chunk)
            chunk, held = [], 0
    if chunk:
        yield from _measure(connection, surroundings, chunk)


def _measure(
    connection: Connection, surroundings: Surroundings, devices: Sequence[Sequence[Row]]
) -> Iterator[Measured]:
    """Some devices' measures, with one look at what lies around their readings."""
    around = surroundings.of([row for own in devices for row in own])
    scales = readings.scales(connection, {own[0].device_id for own in devices})
    for own in devices:
        metric = surroundings.metrics[own[0].metric]
        keys = {row.key for row in own}
        beside = [row for key in keys for row in around.beside.get(key, ())]
        opening = [around.openings[key] for key in keys if key in around.openings]
        if metric.kind == "Cumulative":
            yield _consumption(metric, own, beside, opening, {key: scales.get(key, []) for key in keys})
        else:
            yield _level(metric, surroundings.period, own, [*beside, *opening])


def _consumption(
    metric: Metric,
    own: Sequence[Row],
    beside: Sequence[Row],
    opening: Sequence[Row],
    slipped: Mapping[Key, Sequence[Scale]],
) -> Consumption:
    rows = [*own, *beside, *opening]
    bookings = [
        Booking(row.reading, row.booked_at, row.received_at, opens=place >= len(own) + len(beside))
        for place, row in enumerate(rows)
    ]
    steps = settled(bookings, register_of(metric), _scales(rows, slipped))[: len(own)]
    first = own[0]
    return Consumption(
        first.device_id,
        first.alias,
        first.metric,
        tuple(step for row, step in zip(own, steps, strict=True) if not row.late),
        tuple(step for row, step in zip(own, steps, strict=True) if row.late),
    )


def _scales(rows: Sequence[Row], slipped: Mapping[Key, Sequence[Scale]]) -> dict[str, Decimal]:
    """In which unit each register counts at its first reading here."""
    first: dict[Key, datetime] = {}
    for row in rows:
        first[row.key] = min(row.reading.at, first.get(row.key, row.reading.at))
    found: dict[str, Decimal] = {}
    for key, at in first.items():
        before = [scale.scale for scale in slipped[key] if scale.read_at <= at]
        if before:
            found[key[2]] = before[-1]
    return found


def _level(metric: Metric, period: ContractPeriod, own: Sequence[Row], others: Sequence[Row]) -> Level:
    first = own[0]
    closed = max(row.booked_at for row in own)
    bounds = Bounds(period.starts_at, period.ends_at, period.starts_at.date())
    known = (row for row in others if row.customer_id == first.customer_id and row.booked_at <= closed)
    return Level(
        first.device_id,
        first.alias,
        metric,
        bounds,
        tuple(row.reading for row in own),
        tuple(row.reading for row in known),
    )


def _slips(one: Consumption) -> Iterator[Scale]:
    for step in (*one.late_steps, *one.steps):
        if step.note is Note.UNIT_SLIP:
            yield Scale(one.device_id, one.metric, step.segment, step.at, step.scale)
