"""Documents of a storm's region: the region itself, its contracts, plan and seller, as files and rows."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fleetmeter_api.contract import Contract
from fleetmeter_workers.ledger import contracts, registry

from .truth import FIRST, LAST, PRICE, Truth

BACKFILL: Final = "20230301-20231001"
PERIODS: Final = ("eu-202303", "eu-202304")
_SELLER: Final = {
    "name": "Fleet SE", "address": ["2 Quay"], "taxId": "IE123", "email": "bills@fleet.example"
}  # fmt: skip


def write(folder: Path) -> dict[str, str]:
    """Write the files; returns the variables that name them to a worker."""
    (folder / "region.json").write_text(json.dumps(region()))
    (folder / "plans").mkdir()
    (folder / "plans" / "fleet.json").write_text(json.dumps(plan()))
    (folder / "seller.yaml").write_text(json.dumps(_SELLER))
    return {
        "FLEETMETER_REGION_FILE": str(folder / "region.json"),
        "FLEETMETER_PLANS_DIR": str(folder / "plans"),
        "FLEETMETER_SELLER_FILE": str(folder / "seller.yaml"),
        "FLEETMETER_TERMINATION_LOG": str(folder / "termination-log"),
    }


def enter(ledger: Any, truth: Truth) -> None:
    """Sign the customers' contracts and register the fleet, as the API does."""
    contracts.add_versions(ledger, [Contract.model_validate(contract(c)) for c in truth.customers])
    wishes = [
        registry.Registration(
            entry["uid"], entry["customer"], entry["alias"], entry["deviceClass"],
            datetime.fromisoformat(entry["validFrom"]),
            None if entry["validTo"] is None else datetime.fromisoformat(entry["validTo"]),
        )
        for entry in truth.registry
    ]  # fmt: skip
    registry.register(ledger, wishes, "storm")


def region() -> dict[str, Any]:
    """Months of UTC from FIRST to LAST, one metric, and all of it history."""
    return {
        "name": "eu",
        "spec": {
            "jurisdiction": "EU",
            "calendar": {"firstPeriod": f"{FIRST}", "lastPeriod": f"{LAST}"},
            "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
            "invoicing": {"sellerSecretName": "seller", "series": "EU"},
            "backfill": {"from": "2023-03-01T00:00:00Z", "to": "2023-10-01T00:00:00Z"},
            "broker": {"type": "Embedded"},
            "store": {"type": "Embedded"},
        },
    }


def contract(customer: str) -> dict[str, Any]:
    """A customer's contract on the plan `fleet`."""
    return {
        "contract": f"c-{customer}",
        "customer": {"code": customer, "name": f"{customer} Ltd", "address": ["1 High Street"]},
        "plan": "fleet",
        "validFrom": "2020-01-01",
    }


def plan() -> dict[str, Any]:
    """A plan at PRICE a message."""
    charge = {"name": "usage", "metric": "messages", "model": "PerUnit", "unitPrice": str(PRICE)}
    version = {"version": "1", "effectiveFrom": "2020-01-01T00:00:00Z", "charges": [charge]}
    return {"name": "fleet", "spec": {"currency": "EUR", "versions": [version]}}
