"""The host that a cluster runs on: a network namespace with a link, a holder of mounts and process ids."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleetmeter_cluster import cache, cgroups, processes
from fleetmeter_cluster.command import run, succeeds
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import await_true
from fleetmeter_cluster.state import HOME, Place

HOLDER = "tini-static"
HIDDEN = (Path("/run"), Path("/var/lib"), Path("/var/log"))
"""Where daemons write by habit; the cluster has folders of its own there, and the host's stay as they are."""

SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""What a kubelet sets in the kernel of the whole machine; here it sets files of the cluster's own."""

PROXY_ADDRESS = "169.254.1.1"
"""Calico's gateway of every pod; proxy ARP answers for it only where a route to it exists."""


class Namespace:
    """The namespaces of one cluster, and the daemons in them."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def holder(self) -> int | None:
        """The process that holds the namespaces (the first one inside), or None."""
        for pid in processes.marked(self.place.name):
            if processes.command_name(pid) == HOLDER and processes.alive(pid):
                return pid
        return None

    def create(self) -> None:
        """Makes link, namespaces, control groups and the folders inside. Raises Failure where one fails."""
        self._create_network()
        cgroups.create(self.place.full_name)
        self._start_holder()
        self._mount()

    def enter(self, *command: str | Path) -> list[str]:
        """The words that run a command inside. Raises Failure where the cluster does not run."""
        holder = self.holder()
        if holder is None:
            raise Failure(
                f"the cluster {self.place.name} does not run",
                remedy=f"python -m fleetmeter_cluster up {self.place.name}",
            )
        return ["nsenter", "-t", str(holder), "--mount", "--pid", "--net", "--", *map(str, command)]

    def run(self, *command: str | Path, text: str | None = None) -> str:
        """Runs a short command inside and returns its output. Raises Failure when it exits non-zero."""
        return run(self.enter(*command), text=text)

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts a daemon inside; it outlives this process, its output goes to the cluster's logs."""
        self.place.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("a") as log:
            subprocess.Popen(  # noqa: S603
                self.enter(*command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath + ":/usr/sbin:/sbin", **(environment or {})},
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """The log of a daemon."""
        return self.place.logs / f"{name}.log"

    def daemons(self) -> set[str]:
        """The names of the programs that run inside, outside of any pod."""
        holder = self.holder()
        inside = processes.namespace(holder, "pid") if holder else ""
        if not inside:
            return set()
        return {
            processes.program(pid)
            for pid in processes.every()
            if processes.namespace(pid, "pid") == inside and processes.alive(pid)
        }

    def remove(self) -> list[str]:
        """Ends every process and removes link, namespaces and control groups; says what was there."""
        said: list[str] = []
        if ended := self._end_processes():
            said.append(f"{ended} processes")
        if self._unmount():
            said.append("mounts")
        if succeeds(["ip", "link", "show", self.place.link]):
            # It may go by itself at any moment, together with the namespace of its other end.
            succeeds(["ip", "link", "del", self.place.link])
            said.append(f"the link {self.place.link}")
        if Path(f"/run/netns/{self.place.full_name}").exists():
            run(["ip", "netns", "del", self.place.full_name])
            said.append(f"the network namespace {self.place.full_name}")
        self._release_netns_folder()
        if groups := cgroups.remove(self.place.full_name):
            said.append(f"{groups} control groups")
        return said

    def _create_network(self) -> None:
        place, name, link = self.place, self.place.full_name, self.place.link
        node, host = place.node_address, place.host_address
        for words in (
            f"ip netns add {name}",
            f"ip link add {link} type veth peer name eth0 netns {name}",
            f"ip addr add {host}/30 dev {link}",
            f"ip link set {link} up",
            f"ip -n {name} addr add {node}/30 dev eth0",
            f"ip -n {name} link set lo up",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} route add {place.service_network} dev eth0",
            f"ip -n {name} route add {PROXY_ADDRESS}/32 dev eth0",
            f"ip route replace {place.service_network} via {node} dev {link}",
            f"ip route replace {place.pod_network} via {node} dev {link}",
        ):
            run(words.split())
        settings = "echo 1 >/proc/sys/net/ipv4/ip_forward; cd /proc/sys/net/ipv6/conf 2>/dev/null || exit 0;"
        settings += "for one in all default; do echo 1 >$one/disable_ipv6; done"
        run(["nsenter", f"--net=/run/netns/{name}", "sh", "-c", settings])

    def _start_holder(self) -> None:
        tini = shutil.which(HOLDER)
        if tini is None:
            raise Failure(f"{HOLDER} is not installed", remedy="apt-get install tini")
        isolate = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]
        inside = [
            "nsenter",
            f"--net=/run/netns/{self.place.full_name}",
            tini,
            "-s",
            "--",
            "sleep",
            "infinity",
        ]
        subprocess.Popen(  # noqa: S603
            [*isolate, *inside],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), processes.MARK: self.place.name},
            start_new_session=True,
        )
        await_true(lambda: self.holder() is not None, "the process that holds the namespaces", seconds=20)

    def _mount(self) -> None:
        """Puts the cluster's own folders and files over those of the host."""
        kept = (HOME, cache.root().resolve())
        lines = ["set -e"]
        for folder in HIDDEN:
            own = self.place.home / "hidden" / "-".join(folder.parts[1:])
            lines.append(f"mkdir -p {own}")
            if folder == Path("/run"):
                lines.append(
                    f"mount -t tmpfs -o mode=755 tmpfs {own}; mkdir {own}/netns {own}/lock {own}/containerd"
                )
            for path in kept:
                if path.is_relative_to(folder):
                    seen = own / path.relative_to(folder)
                    lines.append(f"mkdir -p {seen} && mount --bind {path} {seen}")
            lines.append(f"mount --rbind {own} {folder}")
        for setting in SETTINGS:
            own = self.place.home / "hidden" / setting.replace("/", "-")
            lines.append(f"cat /proc/sys/{setting} >{own} && mount --bind {own} /proc/sys/{setting}")
        self.run("sh", "-c", "\n".join(lines))

    def _end_processes(self) -> int:
        ended: set[int] = set()

        def none_left() -> bool:
            left = set(processes.marked(self.place.name)) | set(processes.in_network(self.place.full_name))
            left = {pid for pid in left if processes.alive(pid)}
            ended.update(left)
            processes.kill(sorted(left))
            return not left

        await_true(none_left, f"the processes of {self.place.full_name} to end", seconds=20)
        return len(ended)

    def _unmount(self) -> bool:
        """Unmounts what is mounted below the cluster's folder on the host itself."""
        points = [Path(line.split()[4]) for line in cgroups.MOUNTS.read_text().splitlines()]
        below = sorted((point for point in points if point.is_relative_to(self.place.home)), reverse=True)
        for point in below:
            run(["umount", "-l", str(point)])
        return bool(below)

    def _release_netns_folder(self) -> None:
        """Takes back what the first `ip netns add` mounts on its folder, once no namespace is left."""
        folder = Path("/run/netns")
        if folder.is_dir() and not any(folder.iterdir()):
            while succeeds(["mountpoint", "-q", folder]) and succeeds(["umount", folder]):
                pass
            with contextlib.suppress(OSError):
                folder.rmdir()
