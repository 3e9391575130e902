"""The operator on a real cluster: quiet when nothing changes, small, and careful with what it deletes."""

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest
import yaml

from fleetmeter_cluster.lifecycle import Cluster
from fleetmeter_cluster.progress import await_true
from fleetmeter_cluster.site import EXAMPLES, Site

MEBIBYTE = 1024 * 1024
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def writes_by_operator(cluster: Cluster, site: Site) -> Counter[str]:
    """What the operator's account wrote in the site's namespace, by the API server's audit log."""
    written: Counter[str] = Counter()
    for line in cluster.audit_log.read_text().splitlines():
        entry = json.loads(line)
        mine = entry["user"]["username"].startswith(f"system:serviceaccount:{site.namespace}:")
        if mine and entry["verb"] in WRITES and entry.get("stage") == "ResponseComplete":
            written[f"{entry['verb']} {entry.get('objectRef', {}).get('resource')}"] += 1
    return written


def resident_bytes(command: str) -> int:
    """Resident memory of the one process on this machine whose command line has `command`."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if any(word.endswith(command) for word in words[:3]) and "tini" not in words[0]:
                    fields = (folder / "status").read_text()
                    found.append(int(fields.split("VmRSS:")[1].split()[0]) * 1024)
            except (OSError, IndexError):
                continue
    assert found, f"no process {command}"
    return max(found)


def reconciles(site: Site) -> int:
    """How often the operator has reconciled the region, by its own metric."""
    with site.forwarded("deployment/fleetmeter-operator", 8080) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status()
    lines = [
        line for line in answer.text.splitlines() if line.startswith("fleetmeter_operator_reconciles_total{")
    ]
    return int(sum(float(line.split()[-1]) for line in lines if 'kind="BillingRegion"' in line))


@pytest.mark.usefixtures("billed")
def test_five_reconciles_of_a_steady_region_write_nothing(cluster: Cluster, region: Site) -> None:
    await_true(
        lambda: region.get("billingregion", "eu")["status"]["finalPeriods"] == 9, "nine final", seconds=5
    )
    before, rounds = writes_by_operator(cluster, region), reconciles(region)
    await_true(lambda: reconciles(region) >= rounds + 5, "five more reconciles", seconds=300)
    assert writes_by_operator(cluster, region) - before == Counter()


@pytest.mark.usefixtures("billed")
def test_operator_is_small() -> None:
    assert resident_bytes("fleetmeter-operator") <= 160 * MEBIBYTE


def test_a_child_deleted_or_changed_is_put_back(region: Site) -> None:
    region.kubectl("delete", "service", "eu-gateway")
    region.kubectl("patch", "deployment", "eu-consumer", "--type=merge", "-p", '{"spec":{"replicas":0}}')
    await_true(lambda: region.get("service", "eu-gateway") is not None, "the Service to be back", seconds=60)

    def replicas() -> int:
        deployment = region.get("deployment", "eu-consumer")
        return deployment["spec"]["replicas"] if deployment else 0

    await_true(lambda: replicas() == 1, "the consumer to be back", seconds=60)


def test_a_bad_plan_is_told_and_stops_nothing_else(region: Site) -> None:
    plan = next(iter(yaml.safe_load_all((EXAMPLES / "plans.yaml").read_text())))
    plan["metadata"]["name"] = "steep"
    plan["spec"]["versions"][0]["charges"] = [
        {
            "name": "messages",
            "metric": "messages",
            "model": "Volume",
            "tiers": [{"upTo": "10000", "unitPrice": "5.00"}, {"unitPrice": "3.50"}],
        }
    ]
    region.apply(json.dumps(plan))
    await_true(
        lambda: region.condition("pricingplan", "steep", "CliffWarning")[0] == "True",
        "the cliff warning",
        seconds=60,
    )
    await_true(
        lambda: region.condition("billingregion", "eu", "Ready")[0] == "True", "a ready region", seconds=60
    )
    region.kubectl("delete", "pricingplan", "steep")
