"""The control groups of one cluster: its root in every hierarchy, of version 1 or 2."""

import contextlib
import os
import signal
from pathlib import Path

from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import await_true

MOUNTS = Path("/proc/self/mountinfo")
NEEDED = ("cpu", "cpuset", "memory", "pids")


def hierarchies() -> dict[Path, str]:
    """Every mounted hierarchy: its path, and `cgroup` (version 1) or `cgroup2`."""
    found: dict[Path, str] = {}
    for line in MOUNTS.read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind = filesystem.split()[0]
        if kind in ("cgroup", "cgroup2"):
            found[Path(mount.split()[4])] = kind
    return found


def missing() -> list[str]:
    """The controllers that a kubelet needs and this machine does not offer."""
    offered: set[str] = set()
    for path, kind in hierarchies().items():
        if kind == "cgroup":
            offered.update(path.name.split(","))
        else:
            offered.update((path / "cgroup.controllers").read_text().split())
    return [name for name in NEEDED if name not in offered]


def create(name: str) -> None:
    """Makes the group in every hierarchy of version 1, or in the one of version 2.

    Raises Failure where version 2 lets no controller be used below its root.
    """
    found = hierarchies()
    if "cgroup" in found.values():
        for path, kind in found.items():
            if kind == "cgroup":
                _create_v1(path, name)
        return
    for path in found:
        _create_v2(path, name)


def remove(name: str) -> int:
    """Ends what still runs in the group and removes it, deepest first; how many groups there were."""
    count = 0
    for path in hierarchies():
        root = path / name
        if root.is_dir():
            groups = sorted((Path(folder) for folder, _, _ in os.walk(root)), reverse=True)
            for group in groups:
                await_true(lambda own=group: _gone(own), f"the control group {group} to be empty", seconds=20)
                count += 1
    return count


def _create_v1(path: Path, name: str) -> None:
    group = path / name
    group.mkdir(exist_ok=True)
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (path / file).exists():
            (group / file).write_text((path / file).read_text())


def _create_v2(path: Path, name: str) -> None:
    offered = (path / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{controller}" for controller in offered)
    try:
        (path / "cgroup.subtree_control").write_text(wanted)
        (path / name).mkdir(exist_ok=True)
        (path / name / "cgroup.subtree_control").write_text(wanted)
    except OSError as error:
        raise Failure(
            f"the control groups of {path} cannot be divided: {error.strerror}",
            remedy="run on the machine itself, or in a container whose writable root group has no process",
        ) from error


def _gone(group: Path) -> bool:
    with contextlib.suppress(OSError):
        for word in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(word), signal.SIGKILL)
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
