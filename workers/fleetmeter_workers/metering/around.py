"""Around a period's readings: those of other periods that they go on from, or that lie between them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from fleetmeter_api.region import Metric
from fleetmeter_workers.ledger import readings
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.readings import Key, Other, Row, Span

_MOMENT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Around:
    """Other periods' readings of some registers: among and between the own ones, and the last before all."""

    beside: Mapping[Key, Sequence[Row]]
    openings: Mapping[Key, Row]


class Surroundings:
    """Finds what lies around a period's readings, some devices at a time, in the order of their numbers.

    Most readings go on from the customer's period before, which is read once, beside the period itself. What
    that does not tell is asked for: a device that was sold or silent, and readings that came late.
    """

    def __init__(self, connection: Connection, metrics: Mapping[str, Metric], period: ContractPeriod) -> None:
        """Belongs to one transaction."""
        self.metrics = metrics
        self.period = period
        self._connection = connection
        self._before = readings.before(connection, period)
        self._closing = _Closing(self._closing_rows())

    def of(self, rows: Sequence[Row]) -> Around:
        """What lies around these readings.

        An opening that came too late for an invoice that bills one of them does not do for that one: then
        the period before is looked at, too.
        """
        devices = {row.device_id for row in rows}
        span = Span(
            until=max(row.reading.at for row in rows) + _MOMENT,
            closed=max(row.booked_at for row in rows),
            owners=readings.owners(self._connection, self.period, devices),
        )
        others = readings.other_periods(self._connection, self.period, span)
        starts = self._starts(rows, others)
        late = readings.deferred(self._connection, others, starts, span)
        beside = self._beside(others, starts, span, late)
        # Where later readings were billed before, those may have gone on from any that was in sight then.
        billed = {key for key, own in beside.items() if any(row.booked_at < span.closed for row in own)}
        if billed:
            span = replace(span, until=max(span.until, span.closed))
            beside |= self._beside(others, {key: starts[key] for key in billed}, span, late)
        found = self._openings(rows, others, starts, span, late)
        wanted = self._unseen(rows, beside, found)
        while wanted:
            beside |= self._beside(others, wanted, span, late)
            found = {key: row for key, row in found.items() if key not in wanted}
            more = readings.openings(self._connection, others, wanted, span, _last_before(late, wanted))
            found |= more
            wanted = self._unseen(rows, beside, more)
        return Around(beside, found)

    def _beside(
        self,
        others: Sequence[Other],
        starts: Mapping[Key, datetime],
        span: Span,
        late: Mapping[Key, Sequence[Row]],
    ) -> dict[Key, list[Row]]:
        found = readings.since(self._connection, others, starts, span)
        for key, start in starts.items():
            own = [row for row in late.get(key, ()) if start <= row.reading.at and span.wants(row)]
            if own:
                found.setdefault(key, []).extend(own)
        return found

    def _openings(
        self,
        rows: Sequence[Row],
        others: Sequence[Other],
        starts: Mapping[Key, datetime],
        span: Span,
        late: Mapping[Key, Sequence[Row]],
    ) -> dict[Key, Row]:
        closing = self._closing.until((rows[-1].device_id, rows[-1].metric))
        last = _last_before(late, starts)
        before = self._before
        if before is None or span.closed != self.period.cutoff_at:
            return readings.openings(self._connection, others, starts, span, last)
        told = {key: at for key, at in starts.items() if before.ends_at <= at}
        rest = {key: at for key, at in starts.items() if at < before.ends_at}
        apart = [other for other in others if other.period_id != before.period_id]
        known = {key: max(both, key=_at) for key in told if (both := _rows_of(key, last, closing))}
        return {
            **readings.openings(self._connection, apart, told, span, known),
            **readings.openings(
                self._connection, others, rest, span, {key: last[key] for key in rest if key in last}
            ),
        }

    def _closing_rows(self) -> Iterator[Row]:
        if self._before is None:
            return iter(())
        return readings.closing(self._connection, self._before, list(self.metrics), self.period.cutoff_at)

    def _unseen(
        self, rows: Iterable[Row], beside: Mapping[Key, Sequence[Row]], openings: Mapping[Key, Row]
    ) -> dict[Key, datetime]:
        """From where on to look again, for registers whose opening some invoice was drawn up without."""
        closed: dict[Key, datetime] = {}
        for row in (*rows, *(row for key in openings for row in beside.get(key, ()))):
            closed[row.key] = min(row.booked_at, closed.get(row.key, row.booked_at))
        return {
            key: min(row.reading.at, row.period_start)
            for key, row in openings.items()
            if not row.seen_at(closed[key]) and self.metrics[row.metric].kind == "Cumulative"
        }

    def _starts(self, rows: Iterable[Row], others: Sequence[Other]) -> dict[Key, datetime]:
        """From where on the other readings of each register matter: from its first own one; where that
        changes the level of an earlier period, from that period's start."""
        found: dict[Key, datetime] = {}
        for row in rows:
            at = row.reading.at
            if row.late and self.metrics[row.metric].kind == "Gauge":
                at = min((o.starts_at for o in others if o.starts_at <= at < o.ends_at), default=at)
            found[row.key] = min(at, found.get(row.key, at))
        return found


def _last_before(late: Mapping[Key, Sequence[Row]], starts: Mapping[Key, datetime]) -> dict[Key, Row]:
    earlier = {key: [row for row in late.get(key, ()) if row.reading.at < at] for key, at in starts.items()}
    return {key: own[-1] for key, own in earlier.items() if own}


def _rows_of(key: Key, *known: Mapping[Key, Row]) -> list[Row]:
    return [rows[key] for rows in known if key in rows]


def _at(row: Row) -> datetime:
    return row.reading.at


class _Closing:
    """The last readings of the period before, taken as the own ones advance."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._groups = groupby(rows, key=lambda row: (row.device_id, row.metric))
        self._next: tuple[tuple[int, str], list[Row]] | None = None

    def until(self, place: tuple[int, str]) -> dict[Key, Row]:
        """Those of devices and metrics up to this one that were not taken yet."""
        found: dict[Key, Row] = {}
        while True:
            if self._next is None:
                group = next(self._groups, None)
                if group is None:
                    return found
                self._next = group[0], list(group[1])
            if self._next[0] > place:
                return found
            found |= {row.key: row for row in self._next[1]}
            self._next = None
