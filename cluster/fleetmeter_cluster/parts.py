"""What a cluster is made of: packages, programs and images, brought side by side and kept."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fleetmeter_cluster import addons, binaries, cache, images, needs
from fleetmeter_cluster.images import Built
from fleetmeter_cluster.progress import Steps


def bring(steps: Steps, more: Sequence[str] = ()) -> dict[str, Built]:
    """Brings all parts of a cluster, and `more` images; returns the images.

    Raises Failure, before anything is built, where the machine lacks what can't be installed from here.
    """
    needs.check()
    installing = steps.start("Debian packages", needs.install, log=_log()) if needs.packages() else None
    building = [
        steps.start(f"go build {module.folder}", partial(binaries.build, module), log=binaries.log_of(module))
        for module in (binaries.KUBERNETES_MODULE, binaries.CALICO_MODULE)
        if not binaries.built(module)
    ]
    if installing:
        installing.result()
    # These need none of our programs, so they are built beside them.
    others = images.build(more, steps)
    for future in building:
        future.result()
    return others | images.build(addons.IMAGES, steps)


def install(steps: Steps) -> None:
    """Installs the Debian packages that are missing."""
    steps.run("Debian packages", needs.install, log=_log())


def _log() -> Path:
    return cache.root() / "logs" / "packages.log"
