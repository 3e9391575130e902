"""The API stage: two listeners, the contracts' loader and telemetry in one process."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Generator

import uvicorn
from starlette.applications import Starlette

from fleetmeter_workers.api.application import ENDPOINTS, STATUS_ENDPOINTS, application
from fleetmeter_workers.api.call import Parts
from fleetmeter_workers.api.contract_loader import ContractLoader
from fleetmeter_workers.api.pool import Ledger
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.api.status_numbers import Summaries
from fleetmeter_workers.queue import Queue
from fleetmeter_workers.settings import Settings, SettingsError, load_settings, read_region, require
from fleetmeter_workers.telemetry import Health, TelemetryServer, configure_logging
from fleetmeter_workers.tokens import Tokens, TokensError

_CHECK_SECONDS = 2.0
_DRAIN_SECONDS = 10


class _Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, which has two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing to capture."""
        yield


def run() -> int:
    """Serve until SIGTERM or SIGINT. Raises SettingsError for a setting that is missing or wrong."""
    settings = load_settings()
    log = configure_logging("api")
    region = read_region(settings)
    tokens = _tokens(settings)
    health = Health(("postgres",))
    telemetry = TelemetryServer(settings.listen, settings.metrics_port, health)
    ledger = Ledger()
    parts = Parts(region, ledger, Queue(settings.kafka), tokens, Summaries())
    loader = ContractLoader(require(settings.contracts_dir, "FLEETMETER_CONTRACTS_DIR"), region, ledger, log)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(ledger, health, ended), name="health", daemon=True)
    loader.start()
    watcher.start()
    log.info("serving", region=region.name, port=settings.port, status_port=settings.status_port)
    try:
        asyncio.run(_serve(parts, settings))
    finally:
        ended.set()
        loader.close()
        watcher.join(timeout=10)
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


async def _serve(parts: Parts, settings: Settings) -> None:
    listeners = [
        _listener(application(parts, ENDPOINTS), settings.listen, settings.port),
        _listener(application(parts, STATUS_ENDPOINTS), settings.listen, settings.status_port),
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


def _listener(served: Starlette, host: str, port: int) -> _Listener:
    config = uvicorn.Config(
        served,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    return _Listener(config)
