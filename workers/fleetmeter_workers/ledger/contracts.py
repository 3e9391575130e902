"""Contract versions as the ledger keeps them, and the files that were refused."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from fleetmeter_api.contract import Contract
from fleetmeter_rules.contracts import Version
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.registry import customer_ids


@dataclass(frozen=True, slots=True)
class Refusal:
    """A contract file that was not taken: its place in the directory, a hash, and why, without its values."""

    position: int
    sha256: str
    reason: str


def add_versions(connection: Connection, contracts: Sequence[Contract]) -> int:
    """Append a version for each contract whose document differs from its latest; returns how many were added.

    A contract that is no longer given stays as it is: end it with `validTo`.
    """
    added = 0
    with connection.transaction():
        customers = customer_ids(connection, (contract.customer.code for contract in contracts))
        for contract in sorted(contracts, key=lambda contract: contract.contract):
            digest = hashlib.sha256(contract.canonical()).digest()
            inserted = connection.execute(
                "INSERT INTO fleetmeter.contract_version (contract, version, customer_id, document, sha256) "
                "SELECT %(contract)s, coalesce(max(version), 0) + 1, %(customer)s, %(document)s, %(sha256)s "
                "FROM fleetmeter.contract_version WHERE contract = %(contract)s "
                "HAVING (array_agg(sha256 ORDER BY version DESC))[1] IS DISTINCT FROM %(sha256)s "
                "ON CONFLICT (contract, version) DO NOTHING",
                {
                    "contract": contract.contract,
                    "customer": customers[contract.customer.code],
                    "document": Jsonb(contract.wire()),
                    "sha256": digest,
                },
            )
            added += inserted.rowcount
    return added


def all_versions(connection: Connection) -> dict[str, tuple[Version, ...]]:
    """Every version of every contract, oldest first, by contract code."""
    rows = connection.execute(
        "SELECT contract, version, loaded_at, document FROM fleetmeter.contract_version ORDER BY contract, "
        "version"
    ).fetchall()
    found: dict[str, tuple[Version, ...]] = {}
    for contract, version, loaded_at, document in rows:
        found[contract] = (
            *found.get(contract, ()),
            Version(version, loaded_at, Contract.model_validate(document)),
        )
    return found


def of_customers(connection: Connection, customers: Iterable[str]) -> dict[str, tuple[Version, ...]]:
    """Every version of the contracts that these customers have or had, oldest first, by contract code."""
    rows = connection.execute(
        "SELECT DISTINCT contract FROM fleetmeter.contract_version JOIN fleetmeter.customer "
        "USING (customer_id) WHERE code = ANY(%s)",
        (sorted(set(customers)),),
    ).fetchall()
    return versions_of(connection, (contract for (contract,) in rows))


def versions_of(connection: Connection, codes: Iterable[str]) -> dict[str, tuple[Version, ...]]:
    """Every version of these contracts, oldest first, by contract code."""
    rows = connection.execute(
        "SELECT contract, version, loaded_at, document FROM fleetmeter.contract_version "
        "WHERE contract = ANY(%s) ORDER BY contract, version",
        (sorted(set(codes)),),
    ).fetchall()
    found: dict[str, tuple[Version, ...]] = {}
    for contract, version, loaded_at, document in rows:
        known = found.get(contract, ())
        found[contract] = (*known, Version(version, loaded_at, Contract.model_validate(document)))
    return found


def version_count(connection: Connection) -> int:
    """How many versions there are: a cheap answer to whether anything was added."""
    row = connection.execute("SELECT count(*) FROM fleetmeter.contract_version").fetchone()
    return row[0] if row else 0


def replace_refusals(connection: Connection, refusals: Sequence[Refusal]) -> None:
    """Say which files were refused at the last reading of the directory."""
    with connection.transaction():
        connection.execute("DELETE FROM fleetmeter.contract_refusal")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO fleetmeter.contract_refusal (position, sha256, reason) VALUES (%s, %s, %s)",
                [(refusal.position, refusal.sha256, refusal.reason) for refusal in refusals],
            )


def refusals(connection: Connection) -> list[Refusal]:
    """The files that were refused at the last reading."""
    rows = connection.execute(
        "SELECT position, sha256, reason FROM fleetmeter.contract_refusal ORDER BY position"
    )
    return [Refusal(*row) for row in rows.fetchall()]
