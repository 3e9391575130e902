"""Where a cluster lives on this machine: addresses, directory, lock, and what others may know of it."""

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleetmeter_cluster.failure import Failure

HOME = Path("/var/lib/fleetmeter")
"""All that clusters keep; network namespaces belong to the machine, so their state does too."""

LOCKS = Path("/run/lock")

NAMES = ("eu", "us")
"""The clusters that one machine can hold side by side."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster, as tests and the demo need it."""

    name: str
    kubeconfig: Path
    node_address: str
    audit_log: Path
    service_network: str
    pod_network: str
    private: Path
    """A folder for what others keep about the cluster (tokens), readable by root alone, removed with it."""
    engine: str
    """`namespace` (this machine's own) or `kind`."""


@dataclass(frozen=True)
class Place:
    """The names, addresses and paths of one cluster; nothing here says that it exists."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            known = " or ".join(NAMES)
            raise Failure(f"there can be no cluster {self.name!r}", remedy=f"name it {known}")

    @property
    def network(self) -> ipaddress.IPv4Network:
        """All addresses of the cluster; no two clusters share one."""
        return ipaddress.IPv4Network(f"10.{213 + NAMES.index(self.name)}.0.0/16")

    @property
    def host_address(self) -> str:
        """The host's end of the link to the cluster."""
        return str(self.network[1])

    @property
    def node_address(self) -> str:
        """The node's end of the link: API server, kubelet, NodePorts."""
        return str(self.network[2])

    @property
    def service_network(self) -> ipaddress.IPv4Network:
        """The addresses of Services."""
        return ipaddress.IPv4Network((int(self.network[0]) + (16 << 8), 20))

    @property
    def pod_network(self) -> ipaddress.IPv4Network:
        """The addresses of pods."""
        return ipaddress.IPv4Network((int(self.network[0]) + (64 << 8), 18))

    @property
    def api_service_address(self) -> str:
        """The address of the Service `kubernetes`."""
        return str(self.service_network[1])

    @property
    def dns_address(self) -> str:
        """The address of the Service `kube-dns`."""
        return str(self.service_network[10])

    @property
    def full_name(self) -> str:
        """The name of the network namespace and of the cgroups."""
        return f"fleetmeter-{self.name}"

    @property
    def link(self) -> str:
        """The host's network interface that leads to the cluster."""
        return f"fm-{self.name}"

    @property
    def home(self) -> Path:
        """The directory that holds everything of the cluster."""
        return HOME / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, usable on the host as it is."""
        return self.home / "kubeconfig"

    @property
    def logs(self) -> Path:
        """The logs of the cluster's daemons and of the steps that made it."""
        return self.home / "logs"

    @property
    def audit_log(self) -> Path:
        """What was asked of the API server by others than the cluster's own parts, one JSON a line."""
        return self.home / "audit" / "audit.log"

    @property
    def private(self) -> Path:
        """A folder for secrets about the cluster that others keep."""
        return self.home / "private"

    @property
    def record(self) -> Path:
        """The file that says that the cluster came up whole, and how to reach it."""
        return self.home / "cluster.json"

    def cluster(self, engine: str = "namespace", node_address: str = "") -> Cluster:
        """What others may know of the cluster once it is up; `node_address` where it is not the usual one."""
        return Cluster(
            name=self.name,
            kubeconfig=self.kubeconfig,
            node_address=node_address or self.node_address,
            audit_log=self.audit_log,
            service_network=str(self.service_network),
            pod_network=str(self.pod_network),
            private=self.private,
            engine=engine,
        )

    def finish(self, cluster: Cluster) -> None:
        """Records a cluster that came up whole."""
        draft = self.record.with_suffix(".draft")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(cluster, enc_hook=str)))
        draft.rename(self.record)

    def recorded(self) -> Cluster | None:
        """The cluster that came up whole here, running or not; None where there is none."""
        try:
            return msgspec.json.decode(
                self.record.read_bytes(), type=Cluster, dec_hook=lambda kind, text: kind(text)
            )
        except (OSError, msgspec.DecodeError):
            return None


@contextlib.contextmanager
def locked(place: Place) -> Generator[None]:
    """Holds the cluster's lock: of several processes that bring it up or down, one works, the others wait."""
    path = LOCKS / f"{place.full_name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            # The one before us may have removed the file while we waited for it.
            if path.stat().st_ino == os.fstat(lock).st_ino:
                break
        os.close(lock)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
