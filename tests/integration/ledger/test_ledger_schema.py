"""The ledger's schema: applied once, owned by nobody who logs in, and closed to change."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from fleetmeter_workers.ledger import migrations

ROLES = ("consumer", "closer", "api", "gateway")
NAME = "test_schema"


def migrate(server: Any, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the migrate Job on the database of this file, without Kafka."""
    environment = {**os.environ, **server.environment(NAME), **more}
    environment.pop("FLEETMETER_KAFKA_BOOTSTRAP", None)
    command = [sys.executable, "-m", "fleetmeter_workers", "migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def ledger(postgres: Any) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's session on a ledger that was migrated by itself, so with the database's own grants."""
    postgres.create_database(NAME)
    done = migrate(postgres, FLEETMETER_ROLE_PASSWORD_API="s3cret")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    with psycopg.connect(postgres.dsn(NAME), autocommit=True) as connection:
        yield connection
    postgres.drop_database(NAME)


def test_a_second_migration_changes_nothing(postgres: Any, ledger: psycopg.Connection[Any]) -> None:
    """Migrations are recorded with their hash; an edited one and a newer database are refused."""
    first = ledger.execute("SELECT * FROM fleetmeter.schema_migration ORDER BY version").fetchall()
    assert [row[0] for row in first] == [each.version for each in migrations.available()]
    assert migrate(postgres).returncode == 0
    assert ledger.execute("SELECT * FROM fleetmeter.schema_migration ORDER BY version").fetchall() == first
    ledger.execute("UPDATE fleetmeter.schema_migration SET sha256 = '' WHERE version = 1")
    edited = migrate(postgres)
    assert edited.returncode == 65
    assert "differs from the one that was applied" in edited.stdout


def test_a_password_is_set(ledger: psycopg.Connection[Any]) -> None:
    """The role of the variable gets it, hashed before it is sent; the others stay without."""
    stored = dict(ledger.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin").fetchall())
    assert stored["api"].startswith("SCRAM-SHA-256$")
    assert stored["consumer"] is None


def test_nobody_who_logs_in_owns_anything(ledger: psycopg.Connection[Any]) -> None:
    """The owner cannot log in; workers have no right to create, and no temporary tables."""
    assert not ledger.execute(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'fleetmeter_owner'"
    ).fetchall()[0][0]
    owners = ledger.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace AS n ON n.oid = "
        "relnamespace "
        "WHERE nspname = 'fleetmeter'"
    ).fetchall()
    assert owners == [("fleetmeter_owner",)]
    for role in ROLES:
        rights = ledger.execute(
            "SELECT has_database_privilege(%(r)s, current_database(), 'CONNECT'), "
            "has_database_privilege(%(r)s, current_database(), 'TEMP'), "
            "has_database_privilege(%(r)s, current_database(), 'CREATE'), "
            "has_schema_privilege(%(r)s, 'fleetmeter', 'CREATE'), has_schema_privilege(%(r)s, 'public', "
            "'CREATE')",
            {"r": role},
        ).fetchone()
        assert rights == (True, False, False, False, False), role


FORBIDDEN = [
    ("consumer", "UPDATE fleetmeter.event SET quantity = 0"),
    ("consumer", "DELETE FROM fleetmeter.event"),
    ("consumer", "TRUNCATE fleetmeter.event"),
    ("consumer", "UPDATE fleetmeter.quarantine SET reason = ''"),
    ("consumer", "UPDATE fleetmeter.contract_period SET phase = 'final'"),
    ("consumer", "UPDATE fleetmeter.contract_period SET cutoff_at = now()"),
    ("consumer", "DELETE FROM fleetmeter.usage_hour"),
    ("consumer", "INSERT INTO fleetmeter.invoice_series VALUES ('EU', 1)"),
    ("consumer", "UPDATE fleetmeter.device SET alias = 'x'"),
    ("consumer", "INSERT INTO fleetmeter.device_binding (device_id) VALUES (1)"),
    ("consumer", "SELECT * FROM fleetmeter.invoice"),
    ("closer", "INSERT INTO fleetmeter.event (event_key) VALUES (gen_random_uuid())"),
    ("closer", "UPDATE fleetmeter.usage_hour SET events = 0"),
    ("closer", "UPDATE fleetmeter.partition_offset SET next_offset = 0"),
    ("closer", "UPDATE fleetmeter.invoice SET total = 0"),
    ("closer", "DELETE FROM fleetmeter.invoice"),
    ("closer", "UPDATE fleetmeter.contract_period SET cutoff_at = now()"),
    ("api", "INSERT INTO fleetmeter.event (event_key) VALUES (gen_random_uuid())"),
    ("api", "UPDATE fleetmeter.quarantine SET raw = ''"),
    ("api", "UPDATE fleetmeter.contract_version SET document = '{}'"),
    ("api", "UPDATE fleetmeter.partition_offset SET counted_offset = 0"),
    ("api", "UPDATE fleetmeter.partition_offset SET billed = 0"),
    ("api", "UPDATE fleetmeter.replay SET actor = 'x'"),
    ("consumer", "INSERT INTO fleetmeter.replay (actor) VALUES ('x')"),
    ("api", "UPDATE fleetmeter.registry_change SET number = 0"),
    ("api", "UPDATE fleetmeter.late_usage SET quantity = 0"),
    ("api", "UPDATE fleetmeter.period_count SET quarantined = 0"),
    ("closer", "INSERT INTO fleetmeter.late_usage (mark) VALUES ('')"),
    ("consumer", "UPDATE fleetmeter.reopening SET due_at = now()"),
    ("api", "UPDATE fleetmeter.contract_period SET phase = 'final'"),
    ("consumer", "INSERT INTO fleetmeter.register_scale (register) VALUES ('')"),
    ("closer", "INSERT INTO fleetmeter.reading_register (register) VALUES ('')"),
    ("api", "UPDATE fleetmeter.register_scale SET scale = 1"),
    ("gateway", "SELECT * FROM fleetmeter.event"),
    ("gateway", "SELECT * FROM fleetmeter.contract_version"),
    ("gateway", "INSERT INTO fleetmeter.device (uid) VALUES ('x')"),
]


def test_roles_cannot_do_what_is_not_theirs(ledger: psycopg.Connection[Any]) -> None:
    """Each statement is refused for want of a right, not for want of rows."""
    for role, statement in FORBIDDEN:
        ledger.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(errors.InsufficientPrivilege):
            ledger.execute(statement.encode())
        ledger.execute("RESET ROLE")


def test_the_ledger_only_grows(ledger: psycopg.Connection[Any]) -> None:
    """Even a superuser meets the triggers, also with replication's way around them; bad values meet the
    checks."""
    ledger.execute("SET session_replication_role = replica")
    ledger.execute(
        "INSERT INTO fleetmeter.event (received_at, event_key, fingerprint, device_id, uncertainty, "
        "verdict, time_method, "
        "revision, late, canonical) VALUES (now(), gen_random_uuid(), gen_random_uuid(), 1, 0, 1, 0, 1, "
        "false, '')"
    )
    for statement in (
        "UPDATE fleetmeter.event SET late = true",
        "DELETE FROM fleetmeter.event",
        "TRUNCATE fleetmeter.event",
        "TRUNCATE fleetmeter.invoice CASCADE",
        "TRUNCATE fleetmeter.late_usage",
        "TRUNCATE fleetmeter.reopening",
        "TRUNCATE fleetmeter.reading_register",
        "TRUNCATE fleetmeter.register_scale",
        "TRUNCATE fleetmeter.replay",
    ):
        with pytest.raises(errors.RestrictViolation):
            ledger.execute(statement.encode())
    with pytest.raises(errors.CheckViolation):
        ledger.execute(
            "INSERT INTO fleetmeter.event (received_at, event_key, fingerprint, device_id, uncertainty, "
            "verdict, "
            "time_method, revision, late, canonical) "
            "VALUES (now(), gen_random_uuid(), gen_random_uuid(), 1, 0, 0, 0, 1, false, '')"
        )


def test_conservation_is_a_constraint(ledger: psycopg.Connection[Any]) -> None:
    """No commit can leave counters of which one item or record is missing."""
    ledger.execute(
        "INSERT INTO fleetmeter.partition_offset (topic, partition, topic_id, next_offset, counted_offset) "
        "VALUES ('usage', 0, gen_random_uuid(), 0, 0)"
    )
    for lie in ("records = 1", "records = 1, decoded = 1, items = 1", "billed = 1", "next_offset = 5"):
        with pytest.raises(errors.CheckViolation):
            ledger.execute(f"UPDATE fleetmeter.partition_offset SET {lie}".encode())
    ledger.execute(
        "UPDATE fleetmeter.partition_offset SET records = 1, decoded = 1, items = 2, billed = 1, duplicate "
        "= 1"
    )
