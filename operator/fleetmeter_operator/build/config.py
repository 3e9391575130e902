"""The region's own file, and the mounts by which workers see it, contracts, seller, tokens and plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetmeter_operator.build import labels, pods
from fleetmeter_operator.build.digest import canonical, digest
from fleetmeter_operator.build.site import Object, Site

ROOT = "/etc/fleetmeter"
REGION_FILE = "region.json"
SELLER_FILE = "seller.yaml"
TOKENS_FILE = "tokens.yaml"


@dataclass(frozen=True)
class Mounted:
    """One piece of configuration in a worker's pod: the variable that names it, and its volumes' sources by
    their path under the configuration root."""

    env: Object
    sources: Mapping[str, Object]

    @property
    def volumes(self) -> list[Object]:
        """The pod's volumes."""
        return [{"name": _volume_name(path), **source} for path, source in self.sources.items()]

    @property
    def mounts(self) -> list[Object]:
        """The volumes' mounts, read-only."""
        return [
            {"name": _volume_name(path), "mountPath": f"{ROOT}/{path}", "readOnly": True}
            for path in self.sources
        ]


def volumes(mounted: Sequence[Mounted]) -> list[Object]:
    """The volumes of all of them."""
    return [volume for part in mounted for volume in part.volumes]


def mounts(mounted: Sequence[Mounted]) -> list[Object]:
    """The mounts of all of them."""
    return [mount for part in mounted for mount in part.mounts]


def _volume_name(path: str) -> str:
    return path.replace("/", "-")


def region_document(site: Site) -> Object:
    """The content of region.json: the region's name and spec, as the workers' `Region` model reads it."""
    return {"name": site.name, "spec": site.spec.wire()}


def config_hash(site: Site) -> str:
    """Changes when region.json does; on the pod template it rolls the pods."""
    return digest(region_document(site))


def build(site: Site) -> Object:
    """The ConfigMap with region.json."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": labels.owned(site, site.part("config"), "config"),
        "data": {REGION_FILE: canonical(region_document(site))},
    }


def region(site: Site) -> Mounted:
    """region.json."""
    return Mounted(
        pods.value("FLEETMETER_REGION_FILE", f"{ROOT}/region/{REGION_FILE}"),
        {"region": {"configMap": {"name": site.part("config")}}},
    )


def contracts(site: Site) -> Mounted:
    """The contract files of the Secrets that the region names: a directory each, so that files of one name
    in two Secrets are two files."""
    sources: Object = {
        f"contracts/{number:02d}": {"secret": {"secretName": name, "optional": True}}
        for number, name in enumerate(site.spec.contracts.secret_names, start=1)
    }
    return Mounted(
        pods.value("FLEETMETER_CONTRACTS_DIR", f"{ROOT}/contracts"),
        sources or {"contracts": {"emptyDir": {}}},
    )


def seller(site: Site) -> Mounted:
    """The seller that invoices name."""
    return Mounted(
        pods.value("FLEETMETER_SELLER_FILE", f"{ROOT}/seller/{SELLER_FILE}"),
        {"seller": {"secret": {"secretName": site.spec.invoicing.seller_secret_name, "optional": True}}},
    )


def tokens(site: Site) -> Mounted:
    """The hashes of the bearer tokens; an empty directory where the region names none, and nobody gets in."""
    secret = site.spec.api.tokens_secret_name
    return Mounted(
        pods.value("FLEETMETER_TOKENS_FILE", f"{ROOT}/tokens/{TOKENS_FILE}"),
        {"tokens": {"secret": {"secretName": secret, "optional": True}} if secret else {"emptyDir": {}}},
    )


def plans(config_maps: Sequence[str]) -> Mounted:
    """One JSON file a published plan."""
    sources: list[Object] = [
        {
            "configMap": {
                "name": name,
                "optional": True,
                "items": [{"key": "plan.json", "path": f"{name}.json"}],
            }
        }
        for name in config_maps
    ]
    return Mounted(
        pods.value("FLEETMETER_PLANS_DIR", f"{ROOT}/plans"),
        {"plans": {"projected": {"sources": sources}} if sources else {"emptyDir": {}}},
    )
