"""The processes of this machine, as /proc tells: which belong to a cluster, which namespace they are in."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
MARK = "FLEETMETER_CLUSTER_HOLDER"
"""The environment variable that the first process of a cluster carries, with the cluster's name."""


def every() -> Iterator[int]:
    """The id of every process."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def command_name(pid: int) -> str:
    """The kernel's name of the process, "" when it is gone."""
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def program(pid: int) -> str:
    """The file name of the process's first argument, "" when it is gone or is a thread of the kernel."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return Path(words[0].decode(errors="replace")).name


def namespace(pid: int | str, kind: str) -> str:
    """The identity of the process's namespace (`pid`, `net`, `mnt`), "" when it is gone."""
    try:
        return os.readlink(PROC / str(pid) / "ns" / kind)  # noqa: PTH115 - the target is no path
    except OSError:
        return ""


def marked(name: str) -> list[int]:
    """The processes that carry the cluster's mark, this one left out."""
    wanted = f"{MARK}={name}".encode()
    found: list[int] = []
    for pid in every():
        with contextlib.suppress(OSError):
            if wanted in (PROC / str(pid) / "environ").read_bytes().split(b"\0") and pid != os.getpid():
                found.append(pid)
    return found


def in_network(name: str) -> list[int]:
    """The processes in the named network namespace."""
    try:
        inode = Path(f"/run/netns/{name}").stat().st_ino
    except OSError:
        return []
    return [pid for pid in every() if namespace(pid, "net") == f"net:[{inode}]"]


def kill(pids: list[int]) -> None:
    """Kills the processes; those that are gone already don't matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether the process runs: it exists and is no zombie."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
