"""Measurements of the write path on real engines: `python -m tests.bench` prints one table with goals."""

import argparse
import os

from tests.bench import stream, write_path
from tests.bench.engines import directory, running_kafka, running_postgres
from tests.bench.report import Row, show
from tests.bench.write_path import Size

from fleetmeter_workers.consumer.main import spare_the_collector


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="events a round")
    parser.add_argument("--rounds", type=int, default=4, help="rounds that count, after one that warms up")
    parser.add_argument("--backlog", type=int, default=150_000, help="events that wait in Kafka")
    parser.add_argument("--consumers", type=int, default=1, help="consumers that work it off")
    parser.add_argument("--only", choices=["write", "stream"], help="one half of the table")
    options = parser.parse_args()
    spare_the_collector()
    rows: list[Row] = []
    with directory() as where, running_postgres(where) as postgres:
        if options.only != "stream":
            rows += write_path.measure(postgres, Size(options.events, options.rounds))
        if options.only != "write":
            with running_kafka(where) as kafka:
                rows += stream.measure(kafka, postgres, where, options.backlog, options.consumers)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    show(f"Write path, side by side, on {os.cpu_count()} processors with a load of {load}", rows)


if __name__ == "__main__":
    main()
