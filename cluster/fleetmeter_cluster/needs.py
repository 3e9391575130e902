"""What this machine must have: told before anything is built, with the remedy; packages are installed."""

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from fleetmeter_cluster import binaries, cache, cgroups
from fleetmeter_cluster.command import SEARCH_PATH, succeeds
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step
from fleetmeter_cluster.state import HOME

GIB = 1 << 30
DISK_COLD, DISK_WARM = 14 * GIB, 6 * GIB
"""Free bytes that a first run needs (modules, build cache, images), and a later one."""

MEMORY = 3 * GIB
"""Free bytes for a cluster with one region in it."""

PROGRAMS = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "jlink": "openjdk-17-jdk-headless",
    "mmdebstrap": "mmdebstrap",
    "mosquitto": "mosquitto",
    "mvn": "maven",
    "openssl": "openssl",
    "runc": "runc",
    "tcpdump": "tcpdump",
    "tini-static": "tini",
    "/usr/lib/cni/host-local": "containernetworking-plugins",
    "/usr/lib/postgresql/*/bin/postgres": "postgresql",
}
"""A program that tells whether a Debian package is needed: its name, or where it is."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
POLICY = Path("/usr/sbin/policy-rc.d")
HELD = "#!/bin/sh\n# fleetmeter: no service starts while packages are installed\nexit 101\n"
"""Debian's package scripts ask this file whether a service may start; 101 means no."""


def unmet() -> list[Failure]:
    """What is missing and cannot be installed from here; empty where the machine will do."""
    found: list[Failure] = []
    if os.geteuid() != 0:
        found.append(Failure("the cluster needs root", remedy="run it as root, for example with sudo"))
    elif not succeeds(["unshare", "--mount", "--pid", "--fork", "--net", "true"]):
        remedy = "in a container, run it privileged; elsewhere, run it on the machine itself"
        found.append(Failure("this machine allows no namespaces (network, mount, process)", remedy=remedy))
    if controllers := cgroups.missing():
        remedy = (
            "boot with these controllers switched on, or give the container a cgroup namespace of its own"
        )
        found.append(Failure(f"control groups lack {', '.join(controllers)}", remedy=remedy))
    found += _short_of_disk()
    if (free := _available_memory()) < MEMORY:
        message = f"{free / GIB:.1f} GiB of memory are free and {MEMORY / GIB:.0f} are needed"
        found.append(Failure(message, remedy="end other programs, or take a larger machine"))
    if packages() and not shutil.which("apt-get"):
        remedy = "install them with this system's package client, or use Debian 12"
        found.append(Failure(f"not installed: {', '.join(packages())}", remedy=remedy))
    return found


def check() -> None:
    """Raises Failure that names everything that is unmet, each with its remedy."""
    if found := unmet():
        raise Failure("\n".join(str(failure) for failure in found))


def packages() -> list[str]:
    """The Debian packages that are not installed yet."""
    wanted = {package for program, package in PROGRAMS.items() if not _present(program)}
    if not any(_present(browser) for browser in BROWSERS):
        wanted.add("chromium")
    if not _has_static_busybox():
        wanted.add("busybox-static")
    return sorted(wanted)


def install(step: Step) -> None:
    """Installs the missing packages by apt-get; none of their services is started."""
    release_services()
    if missing := packages():
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        step.say("apt-get update")
        step.command(["apt-get", "update", "-q"], environment=quiet)
        step.say(f"apt-get install {' '.join(missing)}")
        with _services_held():
            words = ["apt-get", "install", "--yes", "-q", "--no-install-recommends", *missing]
            step.command(words, environment=quiet)


def _present(program: str) -> bool:
    if program.startswith("/"):
        return any(Path("/").glob(program.removeprefix("/")))
    return shutil.which(program, path=SEARCH_PATH) is not None


def _has_static_busybox() -> bool:
    """Whether busybox needs no library; the usual one does, and would not run in an empty image."""
    found = shutil.which("busybox", path=SEARCH_PATH)
    # A program with libraries names its loader right after its headers.
    return found is not None and b"/ld-" not in Path(found).read_bytes()[:4096]


def _short_of_disk() -> list[Failure]:
    needed = DISK_WARM if binaries.ready() else DISK_COLD
    short: list[Failure] = []
    for folder in (cache.root(), HOME):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        if free < needed:
            message = f"{free / GIB:.1f} GiB are free at {existing} and {needed / GIB:.0f} are needed"
            short.append(Failure(message, remedy="make room, or name another folder in FLEETMETER_CACHE"))
    return short


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _services_held() -> Generator[None]:
    kept = POLICY.with_suffix(".fleetmeter")
    if POLICY.exists():
        POLICY.rename(kept)
    POLICY.write_text(HELD)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        release_services()


def release_services() -> None:
    """Takes back what holds services, of this run or of one that was killed."""
    if POLICY.exists() and POLICY.read_text() == HELD:
        POLICY.unlink()
    kept = POLICY.with_suffix(".fleetmeter")
    if kept.exists():
        kept.rename(POLICY)
