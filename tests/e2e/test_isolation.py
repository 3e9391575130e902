"""Who reaches what: only the region's own pods reach its engines, and they reach nothing else."""

import json
from collections.abc import Iterator

import pytest

from fleetmeter_cluster.site import Site

KNOCK = (
    "import socket,sys\n"
    "for target in sys.argv[1:]:\n"
    "    host, port = target.rsplit(':', 1)\n"
    "    try:\n"
    "        socket.create_connection((host, int(port)), timeout=3).close()\n"
    "        print(target, 'open')\n"
    "    except OSError:\n"
    "        print(target, 'closed')\n"
)
ENGINES = ("eu-kafka:9092", "eu-postgres:5432")


def knock(site: Site, pod: str, *targets: str) -> dict[str, str]:
    """Which of the targets a pod can open a connection to."""
    answer = site.kubectl("exec", pod, "--", "python3", "-c", KNOCK, *targets)
    return dict(line.split() for line in answer.splitlines())


@pytest.fixture(scope="module")
def stranger(region: Site, references: dict[str, str]) -> Iterator[str]:
    """A pod of the same namespace that is not the region's, with a port of its own to knock at."""
    container = {
        "name": "stranger",
        "image": references["workers"],
        "command": ["python3", "-m", "http.server", "8000", "--directory", "/tmp"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "labels": {"app": "stranger"}},
        "spec": {
            "containers": [container],
            "securityContext": security,
            "automountServiceAccountToken": False,
        },
    }
    region.apply(json.dumps(pod))
    region.kubectl("wait", "pod/stranger", "--for=condition=Ready", "--timeout=60s")
    yield "stranger"
    region.kubectl("delete", "pod", "stranger", "--grace-period=0", "--force")


def pod_of(site: Site, component: str) -> dict[str, str]:
    """A running pod of a component: its name and address."""
    label = f"app.kubernetes.io/component={component}"
    for pod in site.objects("pods", "-l", label, "--field-selector=status.phase=Running"):
        if "deletionTimestamp" not in pod["metadata"]:
            return {"name": pod["metadata"]["name"], "address": pod["status"]["podIP"]}
    raise AssertionError(f"no running pod of {component}")


def test_a_stranger_reaches_neither_engine_nor_status(region: Site, stranger: str) -> None:
    targets = (*ENGINES, "eu-api:8080", "eu-api:8081")
    assert knock(region, stranger, *targets) == dict.fromkeys(targets, "closed")


def test_the_regions_own_pods_reach_their_engines(region: Site) -> None:
    consumer = pod_of(region, "consumer")["name"]
    assert knock(region, consumer, *ENGINES) == dict.fromkeys(ENGINES, "open")


def test_a_pod_of_the_region_reaches_nothing_else(region: Site, stranger: str) -> None:
    consumer = pod_of(region, "consumer")["name"]
    found = region.get("pod", stranger)
    assert found is not None
    outside = (
        f"{found['status']['podIP']}:8000",
        "kubernetes.default.svc:443",
        f"{pod_of(region, 'operator')['address']}:8080",
        "eu-mosquitto:1883",
    )
    assert knock(region, stranger, outside[0]) == {outside[0]: "open"}
    assert knock(region, consumer, *outside) == dict.fromkeys(outside, "closed")
