"""The images: what each is made of, and the hash of all its inputs."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetmeter_cluster import binaries, cache, images_apt, images_python
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.images_engine import engine
from fleetmeter_cluster.kafka import kafka_home, kafka_key
from fleetmeter_cluster.progress import Step

FOLDER = Path(__file__).resolve().parents[2] / "images"
BASE_PACKAGES = ("usr-is-merged", "ca-certificates", "python3", "tini")


@dataclass(frozen=True)
class Part:
    """Something that a context holds beside the image's own folder."""

    target: str
    """Its name in the context."""
    key: Callable[[], str]
    """What it depends on, known without making it."""
    bring: Callable[[Path, Step], None]
    """Puts it at that path."""


@dataclass(frozen=True)
class Image:
    """An image: a folder with a Dockerfile, its parts, and whether it stands on the base."""

    name: str
    parts: tuple[Part, ...] = ()
    on_base: bool = True
    pinned: bool = False
    """Whether its tag is `dev`, not the hash: for the cluster's own parts, whose manifests name it."""


def context(name: str, target: Path, step: Step) -> None:
    """Writes everything that `docker build` needs for the image into an empty folder."""
    shutil.copytree(FOLDER / name, target, dirs_exist_ok=True)
    for part in IMAGES[name].parts:
        part.bring(target / part.target, step)


def key(name: str) -> str:
    """The hash of everything that the image is made of."""
    image = IMAGES[name]
    inputs: list[str | bytes | Path] = [type(engine()).__name__, FOLDER / name]
    inputs += [f"{part.target}={part.key()}" for part in image.parts]
    if image.on_base and engine().makes_base:
        inputs.append(key("base"))
    return cache.digest(inputs)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copy2(source, target)
    else:
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))


def _bootstrap(target: Path, step: Step) -> None:
    """Makes the root file system of a minimal Debian from the machine's own archive (about 40 s)."""
    step.say("mmdebstrap, which installs a minimal Debian")
    excluded = ("man", "doc", "info", "locale")
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
    command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--aptopt=APT::Install-Recommends false"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in excluded]
    # What the machine's package client knows stays out of the image.
    command += [f"--aptopt={line}" for line in images_apt.options().splitlines()]
    forget = ': >"$1/etc/apt/sources.list"; : >"$1/etc/resolv.conf"; rm "$1/etc/apt/apt.conf.d/99mmdebstrap"'
    command += [f"--customize-hook={forget}", images_apt.SUITE, str(target), "-"]
    step.command(command, standard_input=images_apt.sources())


def _busybox() -> Path:
    found = shutil.which("busybox", path="/bin:/usr/bin")
    if not found:
        raise Failure(
            "busybox is not installed", remedy="apt-get install --no-install-recommends busybox-static"
        )
    return Path(found)


def _program(name: str) -> Part:
    def bring(target: Path, _step: Step) -> None:
        _copy(binaries.path(name).resolve(), target)

    return Part(name, lambda: str(binaries.path(name).resolve().parent.name), bring)


def _python(extra: str) -> tuple[Part, ...]:
    def bring(target: Path, _step: Step) -> None:
        for folder in images_python.source_folders(extra):
            # A link in our sources stands for its file, which lies outside the image.
            shutil.copytree(folder, target / folder.name, ignore=shutil.ignore_patterns("__pycache__"))

    return (
        Part(
            "site",
            lambda: images_python.site_key(extra),
            lambda target, step: _copy(images_python.site(extra, step), target),
        ),
        Part("source", lambda: cache.digest(images_python.source_folders(extra)), bring),
    )


IMAGES: Mapping[str, Image] = {
    image.name: image
    for image in (
        Image(
            "base",
            (Part("rootfs.tar", lambda: " ".join(BASE_PACKAGES), _bootstrap),),
            on_base=False,
        ),
        Image(
            "pause",
            (Part("busybox", lambda: "", lambda target, _: _copy(_busybox(), target)),),
            on_base=False,
            pinned=True,
        ),
        Image("coredns", (_program("coredns"),), on_base=False, pinned=True),
        Image("local-path-provisioner", (_program("local-path-provisioner"),), on_base=False, pinned=True),
        Image("kafka", (Part("home", kafka_key, lambda target, step: _copy(kafka_home(step), target)),)),
        Image("postgres"),
        Image("mosquitto"),
        Image("operator", _python("operator")),
        Image("workers", _python("workers")),
    )
}
