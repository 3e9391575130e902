"""The images as they are shipped: who they run as, and what must not be in them."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetmeter_cluster import images
from fleetmeter_cluster.progress import Steps

LIMIT_MB = {"operator": 80, "workers": 90, "kafka": 150, "postgres": 90, "mosquitto": 60}
"""The largest packed sizes that count as small, about a fifth above what was measured."""


@dataclass(frozen=True)
class Shipped:
    """What is in an archive: the image's configuration, and each file's size by its path."""

    config: dict[str, Any]
    files: dict[str, int]
    packed: int


def read(archive: Path) -> Shipped:
    with tarfile.open(archive) as outer:

        def blob(descriptor: dict[str, Any]) -> Any:
            return outer.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))

        index = json.load(outer.extractfile("index.json") or pytest.fail("not an OCI archive"))
        manifest = json.load(blob(index["manifests"][0]))
        config = json.load(blob(manifest["config"]))["config"]
        files: dict[str, int] = {}
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=blob(layer), mode="r|*") as inner:
                files |= {entry.name.removeprefix("./"): entry.size for entry in inner}
    return Shipped(config, files, archive.stat().st_size)


@pytest.fixture(scope="module")
def shipped() -> dict[str, Shipped]:
    with Steps("Images") as steps:
        built = images.build(images.PRODUCT, steps)
    return {name: read(one.archive) for name, one in built.items()}


@pytest.mark.parametrize("name", images.PRODUCT)
def test_runs_as_nobody_else(shipped, name):
    assert shipped[name].config["User"] == "10001:10001"
    assert shipped[name].config["Entrypoint"]


@pytest.mark.parametrize("name", images.PRODUCT)
def test_is_small(shipped, name):
    assert shipped[name].packed < LIMIT_MB[name] * 1e6


@pytest.mark.parametrize("name", images.PRODUCT)
def test_knows_nothing_of_the_machine_that_built_it(shipped, name):
    files = shipped[name].files
    assert files["etc/apt/sources.list"] == 0
    assert files["etc/resolv.conf"] == 0
    settings = ("etc/apt/apt.conf.d/", "etc/apt/sources.list.d/", "etc/pip.conf", "root/.", "run/", "tmp/")
    left = {path for path, size in files.items() if size and path.startswith(settings)}
    assert left <= {
        "etc/apt/apt.conf.d/01autoremove",
        "etc/apt/apt.conf.d/70debconf",
        "root/.bashrc",
        "root/.profile",
    }


@pytest.mark.parametrize("name", images.PRODUCT)
def test_holds_no_compiler_and_nothing_of_the_installation(shipped, name):
    files = shipped[name].files
    tools = {"gcc", "cc1", "javac", "pip", "uv", "mvn"}
    assert not [path for path in files if "/bin/" in f"/{path}" and path.rsplit("/", 1)[-1] in tools]
    remains = ("var/lib/apt/lists/", "var/cache/apt/", "var/log/apt/")
    assert not [path for path, size in files.items() if size and path.startswith(remains)]


def packages(files: dict[str, int]) -> set[str]:
    place = "opt/fleetmeter/"
    return {
        path.removeprefix(place).split("/")[1]
        for path in files
        if path.startswith(place) and path.count("/") > 3
    }


def test_each_python_image_holds_what_it_runs_and_no_more(shipped):
    operator, workers = packages(shipped["operator"].files), packages(shipped["workers"].files)
    assert {"kopf", "fleetmeter_operator", "fleetmeter_rules", "fleetmeter_api"} <= operator
    assert (
        not {"confluent_kafka", "psycopg", "fleetmeter_workers", "fleetmeter_wire", "fleetmeter_cli"}
        & operator
    )
    assert {
        "confluent_kafka",
        "psycopg",
        "fleetmeter_workers",
        "fleetmeter_wire",
        "fleetmeter_rules",
    } <= workers
    assert not {"kopf", "kubernetes", "fleetmeter_operator", "fleetmeter_cli", "fleetmeter_cluster"} & workers
