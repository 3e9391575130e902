"""The API stage: two listeners, the contracts' loader and telemetry in one process."""

import asyncio
import signal
import threading

from prometheus_client import REGISTRY

from fleetmeter_workers.api.application import ENDPOINTS, STATUS_ENDPOINTS, application
from fleetmeter_workers.api.call import Parts
from fleetmeter_workers.api.completeness_watch import CompletenessWatch
from fleetmeter_workers.api.contract_loader import ContractLoader
from fleetmeter_workers.api.ledger_metrics import LedgerMetrics
from fleetmeter_workers.api.pool import Ledger
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.api.status_numbers import Summaries
from fleetmeter_workers.listener import Listener
from fleetmeter_workers.queue import Queue
from fleetmeter_workers.settings import Settings, SettingsError, load_settings, read_region, require
from fleetmeter_workers.telemetry import Health, TelemetryServer, configure_logging
from fleetmeter_workers.tokens import Tokens, TokensError

_CHECK_SECONDS = 2.0
_DRAIN_SECONDS = 10


def run() -> int:
    """Serve until SIGTERM or SIGINT. Raises SettingsError for a setting that is missing or wrong."""
    settings = load_settings()
    log = configure_logging("api")
    region = read_region(settings)
    tokens = _tokens(settings)
    health = Health(("postgres", "http", "status"))
    telemetry = TelemetryServer(settings.listen, settings.metrics_port, health)
    ledger = Ledger()
    parts = Parts(region, ledger, Queue(settings.kafka), tokens, Summaries())
    collector = LedgerMetrics(ledger, settings.kafka.topic, by_contract=region.spec.api.customer_metrics)
    REGISTRY.register(collector)
    loader = ContractLoader(require(settings.contracts_dir, "FLEETMETER_CONTRACTS_DIR"), region, ledger, log)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(ledger, health, ended), name="health", daemon=True)
    watch = CompletenessWatch(region, ledger, log)
    loader.start()
    watch.start()
    watcher.start()
    log.info("serving", region=region.name, port=settings.port, status_port=settings.status_port)
    try:
        asyncio.run(_serve(parts, settings, health))
    finally:
        ended.set()
        loader.close()
        watch.close()
        watcher.join(timeout=10)
        REGISTRY.unregister(collector)
        ledger.close()
        telemetry.close()
    log.info("stopped")
    return 0


def _tokens(settings: Settings) -> Tokens:
    try:
        return Tokens(settings.tokens_file)
    except TokensError as error:
        raise SettingsError(f"FLEETMETER_TOKENS_FILE: {error}") from error


def _watch(ledger: Ledger, health: Health, ended: threading.Event) -> None:
    """Keep the health of the ledger's connection true."""
    while not ended.is_set():
        try:
            with ledger.connection() as connection:
                connection.execute("SELECT")
            health.well("postgres")
        except RefusalError as refusal:
            health.unwell("postgres", refusal.error)
        ended.wait(_CHECK_SECONDS)


async def _serve(parts: Parts, settings: Settings, health: Health) -> None:
    public, status = application(parts, ENDPOINTS), application(parts, STATUS_ENDPOINTS)
    listeners = [
        Listener(public, settings.listen, settings.port, _DRAIN_SECONDS, health),
        Listener(status, settings.listen, settings.status_port, _DRAIN_SECONDS, health, "status"),
    ]

    def stop() -> None:
        for listener in listeners:
            listener.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.gather(*(listener.serve() for listener in listeners))
    finally:
        stop()
