"""Connections to the ledger, and what counts as Postgres being away rather than a statement being wrong."""

from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Transaction: TypeAlias = psycopg.Transaction

AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
"""Postgres cannot be reached, is starting, or broke the connection: reconnect and do the whole unit again."""

RETRY = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
)
"""The statement met another one: do the whole unit again on the same connection."""

NOT_MIGRATED = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
)
"""The schema is not, or not yet, the one that this version needs: wait for `fleetmeter-worker migrate`."""

_OPTIONS = {
    "timezone": "UTC",
    "search_path": "fleetmeter,pg_catalog,pg_temp",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""What each session asks of the server. By the TCP settings a node that disappears in a transaction holds its
locks for 20 s, not for two hours; the user timeout is for one that owes an acknowledgement."""


def reason(error: BaseException) -> str:
    """One line that says why a database error came, for logs and probes."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def connect(application: str, dsn: str = "") -> Connection:
    """Connect as the PG* variables (or `dsn`) say; raises psycopg.OperationalError when Postgres is away.

    Autocommit, so that every transaction is an explicit `with connection.transaction()` and is committed at
    its end. Event time is never converted: sessions run in UTC. Each end notices soon when the other is lost.
    """
    connection = psycopg.connect(
        dsn,
        autocommit=True,
        application_name=f"fleetmeter-{application}",
        connect_timeout=5,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=30_000,
        options=" ".join(f"-c {name}={value}" for name, value in _OPTIONS.items()),
    )
    # A server-side plan for the few statements that a worker repeats all day.
    connection.prepare_threshold = 5
    return connection
