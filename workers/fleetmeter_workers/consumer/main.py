"""The consumer process: settings, health, signals, and the loop between them."""

import gc
import signal
from types import FrameType
from typing import Final

from fleetmeter_workers.consumer.loop import Loop
from fleetmeter_workers.consumer.source import Source
from fleetmeter_workers.settings import load_settings, read_region
from fleetmeter_workers.telemetry import Health, TelemetryServer, configure_logging

_STALL_SECONDS: Final = 300.0
"""A batch may wait this long for a lock or a slow disk before the process counts as stuck."""

_GARBAGE: Final = 200_000
"""New objects after which the collector looks for cycles."""


def spare_the_collector() -> None:
    """A batch makes ten thousands of objects and no cycle: looking for some would take a quarter of the
    time."""
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def run() -> int:
    """Consume until SIGTERM (0); 65 when the topic and the ledger do not go together."""
    log = configure_logging("consumer")
    settings = load_settings()
    region = read_region(settings)
    health = Health(("kafka", "postgres"), stall_seconds=_STALL_SECONDS)
    source = Source(settings.kafka, shared=region.spec.consumers.replicas > 1)
    loop = Loop(region, source, health, log)

    def finish(_number: int, _frame: FrameType | None) -> None:
        loop.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, finish)
    server = TelemetryServer(settings.listen, settings.metrics_port, health)
    spare_the_collector()
    log.info("started", region=region.name, metrics_port=server.port)
    try:
        return loop.run()
    finally:
        source.close()
        server.close()
        log.info("stopped")
