"""From Kafka to the ledger: a backlog that waits in the topic, and the real consumer that works it off."""

from pathlib import Path

from tests.bench.line import line
from tests.bench.process import peak_mib, seconds_below, seconds_of
from tests.bench.report import Row
from tests.bench.workload import Fleet

from fleetmeter_local.engines import Kafka, Postgres


def measure(kafka: Kafka, postgres: Postgres, where: Path, events: int, consumers: int = 1) -> list[Row]:
    """Events a second from the first commit to the last, processor time of each engine, and memory."""
    fleet = Fleet()
    with line(kafka, postgres, where, fleet) as made:
        made.send(fleet.messages(events))
        with made.consumers(consumers) as processes:
            began = made.await_records(1, processes)
            pids = {
                "consumer": [process.pid for process in processes],
                "Kafka": [kafka.process.pid],
                "Postgres": [postgres.process.pid],
            }
            before = _used(pids)
            first = made.decided()
            ended = made.await_records(events, processes)
            after = _used(pids)
            peak = max(peak_mib(process.pid) for process in processes)
    worked = events - first
    rate = worked / (ended - began)
    rows = [
        Row(f"Kafka to ledger, events/s, consumers: {consumers}", rate, f"{rate:,.0f}", 10_000),
        Row("a consumer's largest memory, MiB", peak, f"{peak:,.0f}", 512, least=False),
    ]
    for name in pids:
        spent = (after[name] - before[name]) / worked * 1e6
        rows.append(Row(f"processor µs an event, {name}", spent, f"{spent:,.1f}"))
    return rows


def _used(pids: dict[str, list[int]]) -> dict[str, float]:
    """Postgres works in children, the others in threads."""
    return {
        name: sum(map(seconds_below if name == "Postgres" else seconds_of, own)) for name, own in pids.items()
    }
