"""The manifests and configurations that the cluster is given."""

from string import Template
from typing import Any

import pytest
import yaml

from fleetmeter_cluster import kind
from fleetmeter_cluster.controlplane import MANIFESTS
from fleetmeter_cluster.state import NAMES, Place

VALUES = {
    "address": "10.0.0.10",
    "domain": "cluster.local",
    "folder": "/volumes",
    "helper": "helper:1",
    "image": "image:1",
    "pods": "10.1.0.0/16",
}


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a manifest with all its places filled; an unknown place raises KeyError."""
    return list(yaml.safe_load_all(Template((MANIFESTS / name).read_text()).substitute(VALUES)))


@pytest.mark.parametrize("name", sorted(path.name for path in MANIFESTS.glob("*.yaml")))
def test_every_manifest_is_whole(name: str) -> None:
    for document in documents(name):
        assert document["apiVersion"]
        assert document["kind"]


def test_one_storage_class_is_the_default() -> None:
    classes = [one for one in documents("volumes.yaml") if one["kind"] == "StorageClass"]
    marks = [one["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] for one in classes]
    assert marks == ["true"]


def test_the_volume_scripts_keep_their_variables() -> None:
    config = next(one for one in documents("volumes.yaml") if one["kind"] == "ConfigMap")["data"]
    assert '"$VOL_DIR"' in config["setup"]
    assert '"$VOL_DIR"' in config["teardown"]


def test_pods_of_the_cluster_hold_no_privilege() -> None:
    for name in ("dns.yaml", "volumes.yaml"):
        for one in documents(name):
            if one["kind"] == "Deployment":
                pod = one["spec"]["template"]["spec"]
                assert pod["securityContext"]["runAsNonRoot"]
                for container in pod["containers"]:
                    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                    assert container["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.parametrize("name", NAMES)
def test_kind_gets_the_networks_of_its_cluster(name: str) -> None:
    place = Place(name)
    document = kind.config(place)
    assert document["networking"]["serviceSubnet"] == str(place.service_network)
    assert document["networking"]["podSubnet"] == str(place.pod_network)


def test_the_plain_kind_config_is_that_of_eu() -> None:
    plain = yaml.safe_load(kind.CONFIG.read_text())
    assert plain["networking"] == kind.config(Place("eu"))["networking"]
    assert plain["name"] == Place("eu").full_name
    assert (kind.CONFIG.parent / plain["nodes"][0]["extraMounts"][0]["hostPath"]).is_file()
