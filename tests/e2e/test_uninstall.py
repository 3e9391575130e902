"""What stays of a deleted region, and what goes."""

from pathlib import Path

import pytest

from fleetmeter_cluster import demo
from fleetmeter_cluster.progress import Steps, await_true
from fleetmeter_cluster.site import Site

pytestmark = pytest.mark.last


def test_a_deleted_region_keeps_its_data_and_takes_it_up_again(
    region: Site, billed: Path, tmp_path: Path
) -> None:
    region.kubectl("delete", "billingregion", "eu", "--wait=true", "--timeout=120s")
    await_true(
        lambda: region.get("statefulset", "eu-postgres") is None, "the engines to be gone", seconds=120
    )
    assert region.get("pvc", "data-eu-postgres-0") is not None
    with Steps("region again") as steps:
        demo.declare(steps, region)
    region.fleetmeter("invoices", "save", tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.rglob("*.json")} == {
        file.name: file.read_bytes() for file in billed.rglob("*.json")
    }


def test_with_delete_everything_is_gone(region: Site) -> None:
    """Also when the operator had no time to take note of the policy."""
    region.kubectl(
        "patch", "billingregion", "eu", "--type=merge", "-p", '{"spec":{"deletionPolicy":"Delete"}}'
    )
    region.kubectl("delete", "billingregion", "eu", "--wait=true", "--timeout=180s")
    label = "fleetmeter.io/region=eu"

    def left() -> list[str]:
        kinds = "statefulsets,deployments,services,secrets,configmaps,pvc,jobs,billingperiods,networkpolicies"
        return region.kubectl("get", kinds, "-l", label, "-o", "name").split()

    await_true(lambda: not left(), "nothing of the region to be left", seconds=120)
