"""The loader: watches the mounted contracts and keeps the ledger's versions and refusals in step."""

import threading
from pathlib import Path

from prometheus_client import Gauge
from structlog.stdlib import BoundLogger

from fleetmeter_api.region import Region
from fleetmeter_rules.contracts import defaults_of
from fleetmeter_workers.api import contract_files
from fleetmeter_workers.api.contract_files import Decision, Stamp
from fleetmeter_workers.api.pool import Ledger
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import contracts

POLL_SECONDS = 1.0

_LOADED = Gauge("fleetmeter_api_contracts_loaded", "Contract files taken at the last reading.")
_REFUSED = Gauge("fleetmeter_api_contracts_refused", "Contract files refused at the last reading.")


class ContractLoader:
    """Looks at the directory every second and writes what changed. Bad files stop nothing else."""

    def __init__(self, directory: Path, region: Region, ledger: Ledger, log: BoundLogger) -> None:
        """Prepare; `start` begins to read."""
        self._defaults = defaults_of(region.spec)
        self._directory = directory
        self._ledger = ledger
        self._log = log
        self._done: Stamp | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="contracts", daemon=True)

    def start(self) -> None:
        """Begin to read, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End the reading."""
        self._ended.set()
        self._thread.join(timeout=10)

    def load(self) -> Decision | None:
        """Read the directory if it changed; None if it did not. Raises RefusalError or OSError: try again."""
        stamp = contract_files.stamp(self._directory)
        if stamp == self._done:
            return None
        files = contract_files.read(self._directory)
        with self._ledger.connection() as connection:
            versions = contracts.all_versions(connection)
            loaded = {code: known[-1].contract for code, known in versions.items()}
            decision = contract_files.decide(files, loaded, self._defaults)
            with connection.transaction():
                added = contracts.add_versions(connection, decision.taken)
                contracts.replace_refusals(connection, decision.refused)
        self._done = stamp
        _LOADED.set(len(decision.taken))
        _REFUSED.set(len(decision.refused))
        self._log.info("contracts read", files=len(files), added=added, refused=len(decision.refused))
        return decision

    def _run(self) -> None:
        troubled = False
        while not self._ended.is_set():
            try:
                self.load()
                troubled = False
            except (RefusalError, OSError) as error:
                if not troubled:
                    self._log.warning("contracts not read, trying again", reason=type(error).__name__)
                troubled = True
            self._ended.wait(POLL_SECONDS)
