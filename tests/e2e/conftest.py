"""The cluster, an installed region, and its story: history loaded while pods are killed, months closed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetmeter_cluster import demo, lifecycle
from fleetmeter_cluster.progress import Steps, await_true
from fleetmeter_cluster.site import EXAMPLES, LOADS, TRACES, Site
from fleetmeter_local import demo as local

NAMESPACE = "fleetmeter-test"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: takes away what the others share, and so runs after them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def cluster() -> Iterator[lifecycle.Cluster]:
    """The cluster `eu`; taken down again if this run brought it up."""
    was_up = lifecycle.status("eu").up
    yield lifecycle.up("eu")
    if not was_up:
        lifecycle.down("eu")


@pytest.fixture(scope="session")
def references(cluster: lifecycle.Cluster) -> dict[str, str]:
    """The images in the cluster, by name."""
    with Steps("images") as steps:
        return lifecycle.load(cluster.name, demo.IMAGES, steps)


@pytest.fixture(scope="session")
def installed(
    cluster: lifecycle.Cluster, references: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Fleetmeter installed by Helm in a namespace of the tests' own, removed at the end."""
    site = Site(cluster.kubeconfig, tmp_path_factory.mktemp("private"), namespace=NAMESPACE)
    site.install(references, "resyncSeconds=5")
    yield site
    site.kubectl("delete", "billingregion", "--all", "--wait=true", "--timeout=120s")
    site.helm("uninstall", "fleetmeter", "--namespace", NAMESPACE, "--wait")
    site.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


@pytest.fixture(scope="session")
def region(installed: Site) -> Site:
    """The demo's region, ready, with its devices registered."""
    with Steps("region") as steps:
        demo.declare(steps, installed)
        installed.fleetmeter("devices", "import", EXAMPLES / "devices.ndjson")
    return installed


@pytest.fixture(scope="session")
def billed(region: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of invoices after both traces were loaded and nine months closed.

    The consumer's pod is deleted while the first trace is being loaded, the operator's while months close.
    """
    backfill = demo.backfill_id()
    strike = threading.Thread(target=strike_consumer, args=(region,))
    strike.start()
    for adapter, trace in LOADS.items():
        region.load(backfill, TRACES / trace, adapter)
    strike.join()
    region.fleetmeter("backfill", "complete", backfill)
    await_true(lambda: phases(region).count("Final") >= 2, "two final periods", seconds=180)
    region.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=operator", "--wait=false")
    with Steps("close") as steps:
        steps.run("nine months", lambda step: demo.await_final(region, step))
    folder = tmp_path_factory.mktemp("invoices")
    region.fleetmeter("invoices", "save", folder)
    return folder


@pytest.fixture(scope="session")
def local_invoices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The invoices of the same line as processes on loopback."""
    folder = tmp_path_factory.mktemp("local")
    with local.running_line() as line, Steps("the line on loopback") as steps:
        local.bring_up(steps, line)
        local.replay(steps, line)
        local.close_all(steps, line)
        local.save(line, folder)
    return folder


def strike_consumer(site: Site) -> None:
    """Deletes the consumer's pod once it has billed something."""
    await_true(lambda: status_number(site, "billed") > 500, "500 billed events", seconds=180)
    site.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=consumer", "--grace-period=0", "--force")


def status_number(site: Site, column: str) -> int:
    """A counter of the consumer, summed over partitions, read in Postgres itself."""
    query = f"select coalesce(sum({column}), 0) from fleetmeter.partition_offset"
    return int(ask_postgres(site, query) or 0)


@pytest.fixture(scope="session")
def psql(region: Site) -> Callable[[str], str]:
    """Asks the region's Postgres."""
    return lambda query: ask_postgres(region, query)


def ask_postgres(site: Site, query: str) -> str:
    """What the region's Postgres answers to a query asked inside its own pod."""
    pod = f"{site.region}-postgres-0"
    command = f'psql -h 127.0.0.1 -U postgres -d fleetmeter -Atc "{query}"'
    return site.kubectl("exec", pod, "--", "sh", "-c", f'PGPASSWORD="$POSTGRES_PASSWORD" {command}').strip()


def phases(site: Site) -> list[str]:
    """The phases of the region's periods, oldest first."""
    return [period.get("status", {}).get("phase", "Pending") for period in site.objects("billingperiods")]
