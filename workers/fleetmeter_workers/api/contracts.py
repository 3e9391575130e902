"""Contracts: what the ledger loaded from the region's Secrets, and which files it refused."""

from datetime import datetime

import msgspec
from starlette.responses import Response

from fleetmeter_rules.contracts import Version
from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.ledger import contracts


class ContractEntry(msgspec.Struct, frozen=True, rename="camel"):
    """The latest version of a contract."""

    contract: str
    version: int
    customer: str
    plan: str
    valid_from: str
    valid_to: str | None
    sha256: str
    loaded_at: datetime


class RefusedFile(msgspec.Struct, frozen=True, rename="camel"):
    """A file that was not taken: its position in the directory, the start of its hash, and why."""

    position: int
    sha256: str
    reason: str


class ContractList(msgspec.Struct, frozen=True, rename="camel"):
    """Contracts by code, and what was refused at the last reading."""

    contracts: list[ContractEntry]
    refused: list[RefusedFile]


def list_contracts(call: Call) -> Response:
    """GET /v1/contracts."""
    with call.parts.ledger.connection() as connection:
        versions = contracts.all_versions(connection)
        refused = contracts.refusals(connection)
    return json_response(
        ContractList(
            [_entry(versions[code][-1]) for code in sorted(versions)],
            [RefusedFile(each.position, each.sha256, each.reason) for each in refused],
        )
    )


def _entry(version: Version) -> ContractEntry:
    document = version.contract
    return ContractEntry(
        contract=document.contract,
        version=version.number,
        customer=document.customer.code,
        plan=document.plan,
        valid_from=document.valid_from.isoformat(),
        valid_to=None if document.valid_to is None else document.valid_to.isoformat(),
        sha256=document.content_hash,
        loaded_at=version.loaded_at,
    )
