"""The watch over completeness: looks again and again at ended periods that are not final, one at a time."""

import threading
import time
from typing import Any, Final

import psycopg

from fleetmeter_api.region import Region
from fleetmeter_workers.api.pool import Ledger
from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import completeness, contracts, periods
from fleetmeter_workers.ledger.contract_book import ContractBook

_LEAST_REST: Final = 1.0
_REST: Final = 20
"""A look is followed by a rest of so many times its length: at most a twentieth of a processor."""


class CompletenessWatch:
    """Keeps the counts of missing usage and silent devices true, so that the status can show them."""

    def __init__(self, region: Region, ledger: Ledger, log: Any) -> None:
        """Nothing runs before `start`."""
        self._region = region
        self._ledger = ledger
        self._log = log
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="completeness", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more, and wait for the look that goes on."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        rest = 0.0
        while not self._ended.wait(max(_LEAST_REST, rest)):
            began = time.monotonic()
            try:
                self._look()
            except (RefusalError, psycopg.Error, LookupError) as error:
                self._log.info("completeness not looked at", reason=type(error).__name__)
            rest = (time.monotonic() - began) * _REST

    def _look(self) -> None:
        """At the period that was not looked at for the longest time."""
        with self._ledger.connection() as connection:
            period_id = completeness.oldest_look(connection)
            if period_id is None:
                return
            (period,) = periods.of_ids(connection, [period_id])
            book = ContractBook(self._region, contracts.versions_of(connection, [period.contract]))
            terms = book.terms(period.contract, period.cutoff_at)
            completeness.look(connection, period, completeness.window_of(terms, period))
