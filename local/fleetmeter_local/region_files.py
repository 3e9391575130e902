"""What the workers of a region are given as files, made from manifests as a person would apply them."""

import hashlib
import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import yaml

from fleetmeter_api.region import Region

ROLES = ("admin", "operator", "reader", "ingest", "backfill")


class RegionFiles:
    """The folder that a cluster would mount: region.json, plans/, contracts/, seller.yaml, tokens.yaml."""

    def __init__(self, directory: Path, example: Path) -> None:
        """Write the files of `example` (region.yaml, plans.yaml, contracts/, seller.yaml) into `directory`.

        Raises pydantic.ValidationError for a region that the cluster would refuse.
        """
        directory.mkdir(parents=True)
        self.directory = directory
        document = yaml.safe_load((example / "region.yaml").read_text())
        self.region = Region.from_resource(document)
        self.tokens = {role: secrets.token_urlsafe(24) for role in ROLES}
        (directory / "region.json").write_bytes(self.region.canonical())
        (directory / "plans").mkdir()
        for plan in yaml.safe_load_all((example / "plans.yaml").read_text()):
            named = _named_spec(plan)
            (directory / "plans" / f"{named['name']}.json").write_text(json.dumps(named))
        shutil.copytree(example / "contracts", directory / "contracts")
        shutil.copy(example / "seller.yaml", directory / "seller.yaml")
        (directory / "tokens.yaml").write_text(yaml.safe_dump({"tokens": self._hashed()}))

    @property
    def contracts(self) -> int:
        """How many contracts there are."""
        return len(list((self.directory / "contracts").glob("*.yaml")))

    def environment(self) -> dict[str, str]:
        """The variables that name the files."""
        return {
            "FLEETMETER_REGION_FILE": str(self.directory / "region.json"),
            "FLEETMETER_PLANS_DIR": str(self.directory / "plans"),
            "FLEETMETER_CONTRACTS_DIR": str(self.directory / "contracts"),
            "FLEETMETER_SELLER_FILE": str(self.directory / "seller.yaml"),
            "FLEETMETER_TOKENS_FILE": str(self.directory / "tokens.yaml"),
        }

    def _hashed(self) -> list[dict[str, str]]:
        return [
            {"name": f"local-{role}", "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()}
            for role, token in self.tokens.items()
        ]


def _named_spec(document: Any) -> dict[str, Any]:
    """The part of a manifest that travels to the workers."""
    return {"name": document["metadata"]["name"], "spec": document["spec"]}
