"""The ledger's own metrics, read at each scrape: watermarks, quarantine, duplicates by contract and hour."""

from collections.abc import Generator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fleetmeter_workers.api.pool import Ledger
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import duplicates, offsets, quarantine
from fleetmeter_workers.ledger.database import Connection

MOST_CONTRACTS = 50
"""Contracts with a series of their own; a fleet of a million customers makes no more."""


class LedgerMetrics(Collector):
    """A collector for the process's registry; while Postgres is away it tells nothing."""

    def __init__(self, ledger: Ledger, topic: str, *, by_contract: bool) -> None:
        """Without `by_contract` no label holds anything of a customer, not even a contract's code."""
        self._ledger = ledger
        self._topic = topic
        self._by_contract = by_contract

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing in advance, so that registering reads nothing."""
        return []

    def collect(self) -> Generator[GaugeMetricFamily]:
        """Read and tell."""
        found: list[GaugeMetricFamily] = []
        try:
            with self._ledger.connection() as connection:
                found += _progress(connection, self._topic)
                found += _hours(connection, MOST_CONTRACTS if self._by_contract else 0)
        except RefusalError:
            return
        yield from found


def _progress(connection: Connection, topic: str) -> list[GaugeMetricFamily]:
    watermark = GaugeMetricFamily(
        "fleetmeter_ledger_watermark_seconds",
        "Log time of the last record decided, in seconds since 1970; its age is time() less this.",
        labels=["partition"],
    )
    waiting = GaugeMetricFamily(
        "fleetmeter_ledger_quarantine_rows", "Set aside and not yet decided by a person.", labels=["reason"]
    )
    for partition, row in offsets.read_offsets(connection, topic).items():
        if row.watermark_at is not None:
            watermark.add_metric([str(partition)], row.watermark_at.timestamp())
    for reason, count in quarantine.counts(connection).items():
        waiting.add_metric([reason], count)
    return [watermark, waiting]


def _hours(connection: Connection, most: int) -> list[GaugeMetricFamily]:
    copies = GaugeMetricFamily(
        "fleetmeter_ledger_duplicates",
        "Copies received in the hour and not billed again. A jump shows a device that sends again and again.",
        labels=["contract", "hour"],
    )
    events = GaugeMetricFamily(
        "fleetmeter_ledger_events", "Billed events that happened in the hour.", labels=["contract", "hour"]
    )
    for each in duplicates.last_hours(connection, most):
        hour = "current" if each.current else "previous"
        copies.add_metric([each.contract, hour], each.duplicates)
        if each.events is not None:
            events.add_metric([each.contract, hour], each.events)
    return [copies, events]
