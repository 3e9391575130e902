"""Dockets: events in doubt as a person sees them, with where they may belong and what was decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from fleetmeter_api.region import Region
from fleetmeter_rules.boundary import Edge, edges
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.event_time import TimeMethod
from fleetmeter_rules.number import plain
from fleetmeter_rules.ownership import owner_at
from fleetmeter_rules.time_evidence import TimeEvidence, readable
from fleetmeter_workers.ledger import boundaries, contracts, periods, registry
from fleetmeter_workers.ledger.boundaries import Candidate, Step
from fleetmeter_workers.ledger.contract_book import ContractBook, PeriodTerms
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.registry import Device

_MICROSECOND = timedelta(microseconds=1)


class Neighbour(msgspec.Struct, frozen=True, rename="camel"):
    """A contract period that the event may belong to as well, start <= t < end; `edge` says which side."""

    edge: Literal["previous", "next"]
    billing_period: str
    start: datetime
    end: datetime


class Decision(msgspec.Struct, frozen=True, rename="camel"):
    """What was decided about an event, by whom and when; `movedTo` is a billing period. `undone`: what was
    decided before is taken back."""

    decision: Literal["accepted", "moved", "undone"]
    moved_to: str | None
    actor: str
    decided_at: datetime


class ReviewEntry(msgspec.Struct, frozen=True, rename="camel"):
    """An event in doubt: it happened within `uncertaintySeconds` of `eventAt`, which is how it was booked.

    `evidence`: how far that time can be trusted, and what was mended. `decision` is the one that stands;
    `history` has all of them and their taking back, oldest first.
    """

    id: str
    device: str
    reference: str
    contract: str
    event_at: datetime
    uncertainty_seconds: int
    method: str
    evidence: TimeEvidence
    metric: str
    quantity: str
    billing_period: str
    start: datetime
    end: datetime
    neighbours: list[Neighbour]
    decision: Decision | None
    history: list[Decision]


@dataclass(frozen=True, slots=True)
class Docket:
    """What candidates are looked at with: their periods, contracts, devices and decisions."""

    periods: Mapping[int, ContractPeriod]
    names: Mapping[int, str]
    book: ContractBook
    devices: Mapping[str, Device]
    history: Mapping[UUID, Sequence[Step]]

    def edges(self, each: Candidate) -> tuple[Edge, ...]:
        """The sides on which the event may belong to another period."""
        return edges(each.event_at, each.uncertainty, self.bounds(each))

    def bounds(self, each: Candidate) -> Bounds:
        """Of the period that it was booked in."""
        own = self.periods[each.period_id]
        return Bounds(own.starts_at, own.ends_at, own.starts_at.date())

    def neighbour(self, each: Candidate, edge: Edge) -> PeriodTerms | None:
        """The contract period behind the edge, of the same customer; None where there is none."""
        own = self.periods[each.period_id]
        instant = own.starts_at - _MICROSECOND if edge is Edge.PREVIOUS else own.ends_at
        if owner_at(self.devices[each.uid].bindings, instant) != own.customer:
            return None
        match = self.book.match(own.customer, instant, each.received_at)
        return None if match is None else match.period

    def entry(self, each: Candidate) -> ReviewEntry:
        """The event as it is shown."""
        history = [self._decision(step) for step in self.history.get(each.event_key, ())]
        own = self.periods[each.period_id]
        neighbours = [(edge, self.neighbour(each, edge)) for edge in self.edges(each)]
        return ReviewEntry(
            id=str(each.event_key),
            device=each.alias,
            reference=each.reference,
            contract=own.contract,
            event_at=each.event_at,
            uncertainty_seconds=each.uncertainty // timedelta(seconds=1),
            method=TimeMethod(each.time_method).name.lower(),
            evidence=readable(each.evidence),
            metric=each.metric,
            quantity=plain(each.quantity),
            billing_period=own.billing_period,
            start=own.starts_at,
            end=own.ends_at,
            neighbours=[
                Neighbour(edge.value, terms.billing_period, terms.bounds.start, terms.bounds.end)
                for edge, terms in neighbours
                if terms is not None
            ],
            decision=history[-1] if history and history[-1].decision != "undone" else None,
            history=history,
        )

    def _decision(self, step: Step) -> Decision:
        if step.undone:
            return Decision("undone", None, step.actor, step.at)
        if step.moved_to is None:
            return Decision("accepted", None, step.actor, step.at)
        return Decision("moved", self.names[step.moved_to], step.actor, step.at)


def docket(
    connection: Connection, region: Region, rows: Sequence[ContractPeriod], found: Sequence[Candidate]
) -> Docket:
    """The docket of these candidates; `rows` are the contract periods of their billing period."""
    booked = {each.period_id for each in found}
    own = {row.period_id: row for row in rows if row.period_id in booked}
    customers = {row.customer for row in own.values()}
    history = boundaries.history(connection, [each.event_key for each in found])
    moved = {step.moved_to for steps in history.values() for step in steps if step.moved_to is not None}
    return Docket(
        periods=own,
        names=periods.billing_periods_of(connection, moved),
        book=ContractBook(region, contracts.of_customers(connection, customers)),
        devices=registry.find_devices(connection, {each.uid for each in found}),
        history=history,
    )
