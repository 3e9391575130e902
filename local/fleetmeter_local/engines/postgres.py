"""PostgreSQL on loopback, from the system's package."""

import os
import pwd
import signal
from collections.abc import Mapping
from pathlib import Path

import psycopg

from fleetmeter_cluster.ports import LOOPBACK, free_port
from fleetmeter_local.process import Process, ProcessError, own, run

INSTALLED = Path("/usr/lib/postgresql")
SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_compression": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "jit": "off",
    "timezone": "UTC",
}


def binaries() -> Path:
    """The directory of the newest installed server. Raises ProcessError when there is none."""
    found = [path for path in INSTALLED.glob("*/bin") if (path / "initdb").exists()]
    if not found:
        raise ProcessError("PostgreSQL is not installed. Install the package postgresql and try again.")
    return max(found, key=lambda path: float(path.parent.name))


class Postgres:
    """One server, data in `directory`, any loopback client trusted."""

    def __init__(self, directory: Path, logs: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """Describe the server, with other settings where any are given; nothing is started."""
        self.port = free_port()
        self._data = directory / "pgdata"
        self._user = _account()
        self._logs = logs
        chosen = SETTINGS | dict(settings or {})
        options = [option for name, value in chosen.items() for option in ("-c", f"{name}={value}")]
        self.process = Process(
            "postgres",
            [str(binaries() / "postgres"), "-D", str(self._data), "-p", str(self.port), *options],
            log=logs / "postgres.log",
            user=self._user,
            directory=directory,
        )

    def start(self) -> None:
        """Make the data directory, if it is new, and start the server."""
        if not self._data.exists():
            self._data.mkdir(mode=0o700)
            own(self._data, self._user)
            command = [str(binaries() / "initdb"), "-D", str(self._data), "-U", SUPERUSER]
            command += ["-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
            run(command, log=self._logs / "initdb.log", user=self._user)
        self.process.start()

    def await_ready(self) -> None:
        """Return when a client can connect."""
        self.process.await_ready(self._answers)

    def stop(self) -> None:
        """Stop the server; open connections are closed."""
        self.process.stop(number=signal.SIGINT)

    def environment(self, database: str, user: str = SUPERUSER) -> dict[str, str]:
        """The PG* variables of a client."""
        return {"PGHOST": LOOPBACK, "PGPORT": str(self.port), "PGUSER": user, "PGDATABASE": database}

    def dsn(self, database: str = SUPERUSER, user: str = SUPERUSER) -> str:
        """A connection string for psycopg."""
        return f"host={LOOPBACK} port={self.port} user={user} dbname={database}"

    def create_database(self, name: str) -> None:
        """Make an empty database."""
        self._administer(f'CREATE DATABASE "{name}"')

    def drop_database(self, name: str) -> None:
        """Remove a database, with the connections to it."""
        self._administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _account() -> str | None:
    """The account to run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
