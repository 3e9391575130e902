"""The API's connections to the ledger."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from fleetmeter_workers.api.refusal import RefusalError
from fleetmeter_workers.ledger import database
from fleetmeter_workers.ledger.database import AWAY, Connection

_WAIT_SECONDS = 5.0
_LARGEST = 6


class _LedgerConnection(psycopg.Connection[tuple[Any, ...]]):
    """What the pool opens: a connection as every stage has it."""

    @classmethod
    def connect(cls, conninfo: str = "", **_: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - pool's call
        """Connect with the ledger's own options."""
        return database.connect("api", conninfo)


class Ledger:
    """A pool that survives Postgres being away: requests then get 503 with a remedy."""

    def __init__(self, dsn: str = "") -> None:
        """Start connecting in the background; `dsn` empty means the PG* variables."""
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            connection_class=_LedgerConnection,
            min_size=1,
            max_size=_LARGEST,
            open=True,
            name="api",
            # A connection that Postgres's restart broke is replaced before anyone gets it.
            check=ConnectionPool.check_connection,
            # As soon as Postgres is back; the pool's own pauses grow to a minute.
            reconnect_timeout=_WAIT_SECONDS,
        )

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection for one unit of work. Raises RefusalError (503) while Postgres is away."""
        try:
            with self._pool.connection(_WAIT_SECONDS) as connection:
                yield connection
        except (PoolTimeout, *AWAY) as error:
            raise RefusalError(
                503, "the ledger is not reachable at the moment", "Try again in some seconds."
            ) from error

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
