"""The local cluster itself: what a pod and the host can do in it, and that nothing of it is left."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleetmeter_cluster import api, binaries, cgroups, lifecycle, processes
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.lifecycle import Cluster
from fleetmeter_cluster.namespace import Namespace
from fleetmeter_cluster.progress import Steps, await_true
from fleetmeter_cluster.state import Place

NAME = "us"
WEB = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 16Mi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsUser: 10001, runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: web
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [/bin/sh, -c]
      args: ["test -e /data/page || echo first >/data/page; echo serving; exec httpd -f -p 8080 -h /data"]
      readinessProbe: {{httpGet: {{path: /page, port: 8080}}, periodSeconds: 1}}
      securityContext: {{readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
      volumeMounts: [{{name: data, mountPath: /data}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {{name: client, image: "{python}", imagePullPolicy: IfNotPresent, command: [sleep, infinity]}}
"""
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
"""
ALLOW = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 8080}]}]
"""


class Room:
    """A namespace of one cluster with a web server on a volume, and a client."""

    def __init__(self, cluster: Cluster, name: str, references: dict[str, str]) -> None:
        self.cluster = cluster
        self.name = name
        self.manifest = WEB.format(image=references["pause"], python=references["workers"])

    def kubectl(self, *words: str, text: str | None = None) -> str:
        return api.kubectl(self.cluster.kubeconfig, "--namespace", self.name, *words, text=text)

    def apply(self) -> None:
        """Makes what is missing of it, and waits until both pods are ready."""
        self.kubectl("apply", "-f", "-", text=self.manifest)
        self.kubectl("wait", "--for=condition=Ready", "pod/web", "pod/client", "--timeout=120s")

    def value(self, kind: str, path: str) -> str:
        return self.kubectl("get", kind, "web", f"--output=jsonpath={path}")

    def reaches(self, address: str) -> bool:
        """Whether the client gets the page from the address."""
        try:
            self.python(f"import urllib.request as u; u.urlopen('http://{address}/page', timeout=2).read()")
        except Failure:
            return False
        return True

    def resolve(self, name: str) -> str:
        """The address of a name as a program in a pod gets it; Failure where there is none."""
        return self.python(f"import socket; print(socket.gethostbyname('{name}'))").strip()

    def python(self, program: str) -> str:
        """What a Python program in the client prints; Failure with its last words where it fails."""
        return self.kubectl("exec", "client", "--", "python3", "-c", program)


@pytest.fixture(scope="module")
def us() -> Iterator[Cluster]:
    """The cluster `us`, from nothing."""
    lifecycle.down(NAME)
    yield lifecycle.up(NAME)
    lifecycle.down(NAME)


@pytest.fixture(scope="module")
def room(us: Cluster) -> Room:
    """The web server and its client, ready."""
    with Steps("Images") as steps:
        made = Room(us, "room", lifecycle.load(NAME, ["pause", "workers"], steps))
    api.kubectl(us.kubeconfig, "create", "namespace", made.name)
    made.apply()
    return made


def fetch(url: str) -> str:
    """The page at an address, asked from the host."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        return str(response.read().decode())


def leftovers(place: Place) -> list[str]:
    """Everything of a cluster that is on this machine: processes, mounts, network, control groups, files."""
    found = [f"process {pid}" for pid in processes.marked(place.name) + processes.in_network(place.full_name)]
    for pid in processes.every():
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes() if processes.alive(pid) else b""
        if f"{place.home}/".encode() in words:
            found.append(f"process {pid} {words!r}")
    mounts = cgroups.MOUNTS.read_text().splitlines()
    found += [line for line in mounts if place.full_name in line or f"{place.home}/" in line]
    files = [path / place.full_name for path in (*cgroups.hierarchies(), Path("/run/netns"))]
    files += [place.home, Path("/sys/class/net") / place.link]
    return found + [str(path) for path in files if path.exists()]


def test_a_second_up_changes_nothing(us: Cluster) -> None:
    before = Namespace(Place(NAME)).holder(), node_identity(us)
    assert lifecycle.up(NAME) == us
    assert (Namespace(Place(NAME)).holder(), node_identity(us)) == before


def node_identity(cluster: Cluster) -> str:
    return api.kubectl(cluster.kubeconfig, "get", "node", cluster.name, "--output=jsonpath={.metadata.uid}")


def test_a_volume_keeps_its_data_when_the_pod_is_deleted(room: Room) -> None:
    room.kubectl("exec", "web", "--", "sh", "-c", "echo kept >/data/page")
    room.kubectl("delete", "pod", "web", "--wait=true")
    room.apply()
    assert room.kubectl("exec", "web", "--", "cat", "/data/page") == "kept\n"


def test_names_of_the_cluster_resolve_and_others_do_not(room: Room) -> None:
    service = room.value("service", "{.spec.clusterIP}")
    for name in (f"web.{room.name}.svc.cluster.local", f"web.{room.name}.svc", "web"):
        assert room.resolve(name) == service, name
    with pytest.raises(Failure, match="name resolution"):
        room.resolve("example.com")


def test_the_host_reaches_service_addresses(room: Room) -> None:
    assert fetch(f"http://{room.value('service', '{.spec.clusterIP}')}/page") in ("first\n", "kept\n")


def test_logs_arrive(room: Room) -> None:
    assert "serving" in room.kubectl("logs", "web")


def test_a_port_is_forwarded_to_the_host(room: Room) -> None:
    with forwarded(room) as port:
        assert fetch(f"http://127.0.0.1:{port}/page") in ("first\n", "kept\n")


@contextmanager
def forwarded(room: Room) -> Generator[int]:
    """A free port of the host that leads to the web server."""
    kubectl = [str(word) for word in (binaries.path("kubectl"), f"--kubeconfig={room.cluster.kubeconfig}")]
    words = [*kubectl, "--namespace", room.name, "port-forward", "pod/web", ":8080"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        yield int(found[1])
    finally:
        process.kill()
        process.wait()


def test_network_policies_deny_and_allow(room: Room) -> None:
    pod = room.value("pod", "{.status.podIP}") + ":8080"
    service = room.value("service", "{.spec.clusterIP}")
    await_true(lambda: room.reaches(pod) and room.reaches(service), "the server to answer", seconds=30)
    room.kubectl("apply", "-f", "-", text=DENY)
    await_true(lambda: not room.reaches(pod) and not room.reaches(service), "the denial to hold", seconds=30)
    assert (
        room.kubectl("get", "pod", "web", "--output=jsonpath={.status.containerStatuses[0].ready}") == "true"
    )
    room.kubectl("apply", "-f", "-", text=ALLOW)
    await_true(lambda: room.reaches(pod) and room.reaches(service), "the allowance to hold", seconds=30)
    room.kubectl("label", "pod", "client", "app=stranger", "--overwrite")
    await_true(lambda: not room.reaches(pod), "the allowance to end with the label", seconds=30)


def test_nothing_outside_is_reached(room: Room) -> None:
    with pytest.raises(Failure, match="unreachable"):
        room.python("import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)")


def test_the_audit_log_counts_others_and_not_the_administrator(us: Cluster, room: Room) -> None:
    room.kubectl("create", "serviceaccount", "writer")
    room.kubectl(
        "create", "rolebinding", "writer", "--clusterrole=edit", f"--serviceaccount={room.name}:writer"
    )
    token = room.kubectl("create", "token", "writer").strip()
    bare = us.private / "bare"
    document = json.loads(us.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    bare.write_text(json.dumps(document))
    api.kubectl(bare, "--namespace", room.name, "create", "configmap", "written")
    room.kubectl("create", "configmap", "by-the-administrator")

    def written() -> set[str]:
        events = [json.loads(line) for line in us.audit_log.read_text().splitlines()]
        return {event["objectRef"].get("name", "") for event in events if event["verb"] == "create"}

    await_true(lambda: "written" in written(), "the write to be in the audit log", seconds=30)
    assert "by-the-administrator" not in written()


def test_a_daemon_that_died_is_started_again(us: Cluster, room: Room) -> None:
    inside = Namespace(Place(NAME))
    for name in ("kube-scheduler", "kubelet", "calico-felix", "kube-apiserver"):
        inside.run("sh", "-c", f"kill -9 $(pidof {name})")
    assert not lifecycle.status(NAME).up
    before = inside.holder()
    assert lifecycle.up(NAME) == us
    assert inside.holder() == before
    assert lifecycle.status(NAME).up
    await_true(lambda: answers(room), "the new kubelet to know its pods", seconds=60)


def answers(room: Room) -> bool:
    """Whether a command runs in the pod that was there before."""
    try:
        return bool(room.kubectl("exec", "web", "--", "cat", "/data/page"))
    except Failure:
        return False


def test_two_clusters_run_side_by_side(cluster: Cluster, us: Cluster) -> None:
    assert cluster.name != us.name
    for one in (cluster, us):
        assert lifecycle.status(one.name).up
        assert node_name(one) == one.name


def node_name(cluster: Cluster) -> str:
    return api.kubectl(cluster.kubeconfig, "get", "nodes", "--output=jsonpath={.items[*].metadata.name}")


def test_down_leaves_nothing(us: Cluster) -> None:
    assert leftovers(Place(NAME))
    lifecycle.down(us.name)
    assert leftovers(Place(NAME)) == []
    assert lifecycle.down(us.name) == []


@pytest.mark.parametrize("daemon", ["tini-static", "kube-apiserver", "kubelet"])
def test_an_up_that_is_killed_is_cleaned_up(daemon: str) -> None:
    place = Place(NAME)
    lifecycle.down(NAME)
    words = [sys.executable, "-m", "fleetmeter_cluster", "up", NAME]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
        await_true(lambda: daemon in Namespace(place).daemons(), f"{daemon} to start", seconds=120)
        tool.kill()
    assert not lifecycle.status(NAME).up
    assert lifecycle.down(NAME)
    assert leftovers(place) == []


def test_a_cluster_whose_processes_were_killed_is_made_anew() -> None:
    lifecycle.up(NAME)
    inside = Namespace(Place(NAME))
    before = inside.holder()
    assert before is not None
    processes.kill([before])
    assert not lifecycle.status(NAME).up
    lifecycle.up(NAME)
    assert lifecycle.status(NAME).up
    assert inside.holder() != before
    lifecycle.down(NAME)
    assert leftovers(Place(NAME)) == []
