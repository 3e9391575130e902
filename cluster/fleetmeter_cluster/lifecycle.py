"""A cluster's life: brought up, asked for its state, given images, taken down."""

import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fleetmeter_cluster import addons, api, calico, controlplane, images, kind, node, parts
from fleetmeter_cluster.images import Built
from fleetmeter_cluster.namespace import Namespace
from fleetmeter_cluster.progress import Step, Steps, await_true
from fleetmeter_cluster.state import HOME, Cluster, Place, locked

DAEMONS = (*controlplane.DAEMONS, *node.DAEMONS, calico.DAEMON)


@dataclass(frozen=True)
class Status:
    """What is true of a cluster now."""

    name: str
    up: bool
    """Whether it can be used: everything runs, and the node is Ready."""
    exists: bool
    """Whether anything of it is there."""
    missing: tuple[str, ...]
    """What does not run or is not ready, for a person."""
    cluster: Cluster | None
    """How to reach it, where it ever came up whole."""


def up(name: str = "eu", *, progress: Steps | None = None) -> Cluster:
    """Brings the cluster up and returns how to reach it; a healthy one is left as it is.

    What does not run of a cluster that was whole is started again; leftovers of any other are removed first.
    Of several callers one works, the others wait and find it done. Raises Failure where a need is unmet, or a
    step fails.
    """
    place = Place(name)
    with _shown(f"Cluster {name}", progress) as steps, locked(place):
        if kind.answers():
            return kind.up(place, steps)
        now = status(name)
        if now.up and now.cluster is not None:
            return now.cluster
        built = parts.bring(steps)
        if now.cluster is not None and Namespace(place).holder() is not None:
            steps.run("start what does not run", lambda step: _resume(place, step))
        else:
            if now.exists:
                steps.run("remove what an earlier run left", lambda _: _remove(place))
            _create(place, built, steps)
        cluster = place.cluster()
        place.finish(cluster)
        return cluster


def down(name: str = "eu", *, progress: Steps | None = None) -> list[str]:
    """Removes everything of the cluster, whatever state it is in; says what that was."""
    place = Place(name)
    with _shown(f"Remove cluster {name}", progress) as steps, locked(place):
        if kind.answers():
            return kind.down(place, steps)
        return steps.run("processes, mounts, network, control groups, files", lambda _: _remove(place))


def status(name: str = "eu") -> Status:
    """What is true of the cluster now; nothing is changed."""
    place = Place(name)
    cluster = place.recorded()
    missing = kind.missing(place) if kind.answers() else _missing(place, cluster)
    exists = place.home.exists() or Path(f"/run/netns/{place.full_name}").exists()
    return Status(name, cluster is not None and not missing, exists, tuple(missing), cluster)


def load_images(name: str, archives: Sequence[Path], step: Step | None = None) -> None:
    """Puts image archives into the running cluster. Raises Failure where it does not run."""
    place = Place(name)
    if kind.answers():
        kind.load(place, archives)
    else:
        node.load(Namespace(place), archives, step)


def load(name: str, names: Iterable[str], steps: Steps) -> dict[str, str]:
    """Builds the images that are missing, loads them into the running cluster, returns their references."""
    built = images.build(names, steps)
    archives = [one.archive for one in built.values()]
    steps.run("load images into the cluster", lambda step: load_images(name, archives, step))
    return {image: one.reference for image, one in built.items()}


def _create(place: Place, built: Mapping[str, Built], steps: Steps) -> None:
    namespace = Namespace(place)
    place.home.mkdir(mode=0o755, parents=True)
    place.private.mkdir(mode=0o700)
    certificates = steps.start("certificates", lambda _: controlplane.certify(place))
    steps.run("network namespace, link, control groups", lambda _: namespace.create())
    node.configure(place, built["pause"].reference)
    certificates.result()
    archives = [one.archive for one in built.values()]
    filled = steps.start(
        "containerd and its images", partial(_fill, namespace, archives), log=namespace.log("containerd")
    )
    steps.run("control plane", partial(controlplane.start, namespace), log=namespace.log("kube-apiserver"))
    own = steps.start("DNS and volumes, as manifests", lambda step: addons.apply(place, step))
    steps.run("Calico's kinds", lambda step: calico.define(place, step))
    filled.result()
    node.start_kubelet(namespace)
    steps.run("Calico", partial(calico.start, namespace), log=namespace.log(calico.DAEMON))
    own.result()
    steps.run("node", lambda step: _await_node(place, step), log=namespace.log("kubelet"))
    steps.run("DNS and volumes", lambda step: addons.await_ready(place, step))


def _resume(place: Place, step: Step) -> None:
    namespace = Namespace(place)
    node.start_containerd(namespace, step)
    controlplane.start(namespace, step)
    node.start_kubelet(namespace)
    calico.start(namespace, step)
    _await_node(place, step)
    addons.await_ready(place, step)


def _fill(namespace: Namespace, archives: Sequence[Path], step: Step) -> None:
    node.start_containerd(namespace, step)
    node.load(namespace, archives, step)


def _await_node(place: Place, step: Step) -> None:
    log = Namespace(place).log("kubelet")
    await_true(
        lambda: api.node_ready(place.kubeconfig, place.name), "the node to be Ready", step=step, log=log
    )


def _missing(place: Place, cluster: Cluster | None) -> list[str]:
    if cluster is None:
        return ["it is not up"]
    running = Namespace(place).daemons()
    if absent := [name for name in DAEMONS if name not in running]:
        return [f"{name} does not run" for name in absent]
    checks = {
        "the API server is not ready": lambda: controlplane.answers(place),
        "Calico's felix is not ready": lambda: calico.ready(place),
        "the node is not Ready": lambda: api.node_ready(place.kubeconfig, place.name),
    }
    return [message for message, holds in checks.items() if not holds()]


def _remove(place: Place) -> list[str]:
    said = Namespace(place).remove()
    if place.home.exists():
        shutil.rmtree(place.home)
        said.append(f"the folder {place.home}")
    if HOME.exists() and not any(HOME.iterdir()):
        HOME.rmdir()
    return said


@contextmanager
def _shown(title: str, progress: Steps | None) -> Generator[Steps]:
    if progress is not None:
        yield progress
        return
    with Steps(title) as steps:
        yield steps
