"""Two tenants in one region: one has a backlog in Kafka, the other sends a little; how long that one waits.

`python -m tests.bench.two_tenants --backlog 1000000`
"""

import argparse
import threading
import time
from bisect import bisect_left

from confluent_kafka import Producer
from tests.bench.engines import directory, running_kafka, running_postgres
from tests.bench.line import TOPIC, Line, line
from tests.bench.report import Row, show
from tests.bench.workload import Fleet

from fleetmeter_workers.ledger.database import connect
from fleetmeter_workers.ledger.offsets import read_offsets

BIG, SMALL = 0, 1
"""The tenants' partitions."""
_PART = 100_000


class Little:
    """The small tenant: it sends so many messages a second, and notes when Kafka had each of them."""

    def __init__(self, line: Line, fleet: Fleet, rate: float, seconds: float) -> None:
        """Start sending, in a thread."""
        self.stored: list[float] = []
        self._stop = threading.Event()
        self._messages = fleet.messages(int(rate * seconds))
        self._rate = rate
        self._producer = Producer({"bootstrap.servers": line.kafka.bootstrap, "acks": "all", "linger.ms": 0})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for message in self._messages:
            self._producer.produce(
                TOPIC,
                message.value,
                partition=SMALL,
                headers=list(message.headers),
                on_delivery=lambda error, _: self.stored.append(time.monotonic()),
            )
            self._producer.poll(0)
            if self._stop.wait(1 / self._rate):
                break
        self._producer.flush(30)

    def finish(self) -> None:
        """Send no more, and wait until Kafka has what was sent."""
        self._stop.set()
        self._thread.join(60)


def measure(made: Line, backlog: int, rate: float) -> list[Row]:
    """Let the backlog drain while the small tenant sends, and look at both partitions all the time."""
    seen: list[tuple[int, float]] = []
    with made.consumers() as processes, connect("bench", made.postgres.dsn(made.database)) as connection:
        made.await_records(1, processes)
        began = time.monotonic()
        little = Little(made, Fleet(devices=20, customers=1, copies=0, prefix="small"), rate, 3600)
        while True:
            stored = read_offsets(connection, TOPIC)
            seen.append((stored[SMALL].next_offset, time.monotonic()))
            if stored[BIG].next_offset >= backlog:
                break
            time.sleep(0.01)
        drained = time.monotonic() - began
        # What came while the backlog was there is what counts.
        sent = len(little.stored)
        little.finish()
        while seen[-1][0] < len(little.stored):
            seen.append((read_offsets(connection, TOPIC)[SMALL].next_offset, time.monotonic()))
            time.sleep(0.01)
    offsets = [offset for offset, _ in seen]
    waits = sorted(seen[bisect_left(offsets, n + 1)][1] - at for n, at in enumerate(little.stored[:sent]))
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    return [
        Row("backlog of the large tenant, events", backlog, f"{backlog:,}"),
        Row("seconds until it was worked off", drained, f"{drained:,.1f}"),
        Row("messages of the small one meanwhile", len(waits), f"{len(waits):,}"),
        Row("median wait of the small one, seconds", waits[len(waits) // 2], f"{waits[len(waits) // 2]:.2f}"),
        Row("p99 wait of the small one, seconds", p99, f"{p99:.2f}", 5, least=False),
        Row("longest wait of the small one, seconds", waits[-1], f"{waits[-1]:.2f}"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.two_tenants", description=__doc__)
    parser.add_argument("--backlog", type=int, default=200_000, help="events of the large tenant in Kafka")
    parser.add_argument("--rate", type=float, default=50, help="messages a second of the small tenant")
    options = parser.parse_args()
    big = Fleet(customers=1, prefix="big")
    small = Fleet(devices=20, customers=1, prefix="small")
    with (
        directory() as where,
        running_postgres(where) as postgres,
        running_kafka(where) as kafka,
        line(kafka, postgres, where, big, small) as made,
    ):
        for at in range(0, options.backlog, _PART):
            made.send(big.messages(min(_PART, options.backlog - at), at, at), partition=BIG)
        rows = measure(made, options.backlog, options.rate)
    show("Two tenants, one consumer", rows)


if __name__ == "__main__":
    main()
