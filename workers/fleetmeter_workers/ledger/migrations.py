"""Migrations: numbered SQL files, applied once each, in order, under a lock, and never edited afterwards."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Final

from psycopg import sql

from fleetmeter_workers.ledger.database import Connection

ROLES: Final = ("consumer", "closer", "api", "gateway")
"""The roles that log in; fleetmeter_owner owns everything and cannot."""

_LOCK: Final = 0x666C6565
_PACKAGE: Final = "fleetmeter_workers.ledger"


class MigrationError(Exception):
    """The database and this version's migrations do not go together."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and text."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> bytes:
        """The hash that the database remembers."""
        return hashlib.sha256(self.text.encode()).digest()


def available() -> tuple[Migration, ...]:
    """The migrations of this version, in order. Raises MigrationError for a gap in the numbers."""
    found: list[Migration] = []
    for file in resources.files(_PACKAGE).joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError("the migration files are not numbered 0001, 0002, … without a gap")
    return tuple(found)


def migrate(connection: Connection, passwords: dict[str, str], tell: Callable[[str], None]) -> int:
    """Bring the database to this version as a superuser; returns how many migrations were applied.

    `passwords` are those of ROLES that have one. Raises MigrationError when an applied file has changed or
    the database is newer than this version.
    """
    roles = resources.files(_PACKAGE).joinpath("roles.sql").read_text(encoding="utf-8")
    with connection.transaction():
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(roles.encode())
        for role, password in passwords.items():
            # Hashed here, so that no log of the server can hold the password.
            secret = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(secret.decode())
                )
            )
        pending = _pending(connection)
        for migration in pending:
            tell(f"migration {migration.version:04d} {migration.name}")
            connection.execute("SET LOCAL ROLE fleetmeter_owner")
            connection.execute(migration.text.encode())
            connection.execute("RESET ROLE")
            connection.execute(
                "INSERT INTO fleetmeter.schema_migration (version, name, sha256) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.sha256),
            )
    return len(pending)


def schema_version(connection: Connection) -> int:
    """The number of the last migration applied; 0 for none."""
    row = connection.execute("SELECT coalesce(max(version), 0) FROM fleetmeter.schema_migration").fetchone()
    return row[0] if row else 0


def _pending(connection: Connection) -> list[Migration]:
    rows = connection.execute("SELECT version, sha256 FROM fleetmeter.schema_migration").fetchall()
    applied = {version: bytes(digest) for version, digest in rows}
    ours = available()
    if len(applied) > len(ours):
        raise MigrationError(
            f"the database has migration {max(applied)}, this version only {len(ours)}; use a newer image"
        )
    for migration in ours:
        if migration.version in applied and applied[migration.version] != migration.sha256:
            raise MigrationError(
                f"migration {migration.version:04d} {migration.name} differs from the one that was applied; "
                "restore the file and put the change into a new migration"
            )
    return [migration for migration in ours if migration.version not in applied]
