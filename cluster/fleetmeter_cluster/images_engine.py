"""What turns a Dockerfile and its context into an archive: Docker where it answers, else buildah."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from fleetmeter_cluster import images_apt
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step


class Engine(Protocol):
    """Builds images."""

    makes_base: bool
    """Whether images stand on our own base, not on debian:bookworm-slim."""

    def build(self, context: Path, reference: str, base: Path | None, archive: Path, step: Step) -> None:
        """Builds the context's Dockerfile, on the base of that archive, into an archive of that name."""
        ...


class Docker:
    """A Docker engine, with the upstream base."""

    makes_base = False

    def build(self, context: Path, reference: str, base: Path | None, archive: Path, step: Step) -> None:
        """Builds with the Dockerfile's own default base and saves the image."""
        step.say("docker build")
        step.command(["docker", "build", "--tag", reference, context])
        step.say("docker save")
        step.command(["docker", "save", "--output", archive, reference])


class Buildah:
    """buildah as root, with a store of its own for each build: nothing is left and nothing is shared."""

    makes_base = True

    def build(self, context: Path, reference: str, base: Path | None, archive: Path, step: Step) -> None:
        """Builds in a throw-away store, with the machine's apt settings mounted for the time of the build."""
        with tempfile.TemporaryDirectory(prefix=".buildah.", dir=archive.parent) as name:
            store = Path(name)
            words = [
                "buildah",
                "--storage-driver=vfs",
                f"--root={store / 'root'}",
                f"--runroot={store / 'run'}",
            ]
            mounts = images_apt.mounts(store) if _installs(context) else []
            build = ["bud", "--isolation=chroot", "--network=host", "--layers=false", f"--tag={reference}"]
            build += [f"--volume={mount}" for mount in mounts]
            build += [f"--build-arg=BASE=oci-archive:{base}"] if base else []
            step.say("buildah bud")
            step.command([*words, *build, context])
            step.say("buildah push, which packs the layers")
            step.command([*words, "push", reference, f"oci-archive:{archive}:{reference}"])


@functools.cache
def engine() -> Engine:
    """Docker where its engine answers, else buildah. Raises Failure where neither is there."""
    if shutil.which("docker") and _answers("docker", "info"):
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    raise Failure(
        "no Docker engine answers and buildah is not installed",
        remedy="apt-get install --no-install-recommends buildah mmdebstrap busybox-static, or start Docker",
    )


def _installs(context: Path) -> bool:
    return "apt-get" in (context / "Dockerfile").read_text()


def _answers(*command: str) -> bool:
    return not subprocess.run(command, capture_output=True, check=False, timeout=20).returncode  # noqa: S603
