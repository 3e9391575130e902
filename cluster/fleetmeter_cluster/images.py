"""The images' archives: built once, side by side, and kept by the hash of all their inputs."""

import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fleetmeter_cluster import cache
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.images_catalogue import IMAGES, context, key
from fleetmeter_cluster.images_engine import engine
from fleetmeter_cluster.progress import Step, Steps

PRODUCT = ("operator", "workers", "kafka", "postgres", "mosquitto")
"""The images that a region runs; the others are the local cluster's own."""

KEPT = 3
"""How many archives of one image stay in the cache."""


@dataclass(frozen=True)
class Built:
    """An image that is in the cache: the name by which pods call it, and its archive."""

    reference: str
    archive: Path


def reference(name: str) -> str:
    """The name by which pods call the image now: localhost/fleetmeter-<name>:<12 hex of its inputs' hash>."""
    return _reference(name, "" if IMAGES[name].pinned else key(name))


def archive(name: str) -> Path:
    """The image's archive (OCI, or Docker's own form), built now where the cache lacks it."""
    with Steps(f"Image {name}") as steps:
        return build([name], steps)[name].archive


def build(names: Iterable[str], steps: Steps) -> dict[str, Built]:
    """Several images, what the cache lacks built side by side, each a step with its own log."""
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in IMAGES]:
        raise Failure(f"there is no image {', '.join(unknown)}", remedy=f"name one of {', '.join(IMAGES)}")
    # Asked once: sources that change during the build make no image of two states.
    built = {name: Built(_reference(name, own := key(name)), _file(name, own)) for name in wanted}
    missing = {name: one for name, one in built.items() if not one.archive.exists()}
    if missing:
        base = _base(missing, steps)
        making = [
            steps.start(f"image {name}", partial(_make, name, one, base), log=log_of(name))
            for name, one in missing.items()
        ]
        for future in making:
            future.result()
    return built


def log_of(name: str) -> Path:
    """Where the output of the image's build goes."""
    return cache.root() / "logs" / f"image-{name}.log"


def _reference(name: str, own: str) -> str:
    return f"localhost/fleetmeter-{name}:{'dev' if IMAGES[name].pinned else own[:12]}"


def _file(name: str, own: str) -> Path:
    return cache.root() / "images" / name / own / "image.tar"


def _base(names: Iterable[str], steps: Steps) -> Future[Path] | None:
    if not engine().makes_base or not any(IMAGES[name].on_base for name in names):
        return None
    own = key("base")
    one = Built(_reference("base", own), _file("base", own))
    return steps.start("image base", partial(_make, "base", one, None), log=log_of("base"))


def _make(name: str, one: Built, base: Future[Path] | None, step: Step) -> Path:
    def assemble(draft: Path) -> None:
        folder = draft / "context"
        context(name, folder, step)
        ground: Path | None = None
        if base and IMAGES[name].on_base:
            step.say("the base image")
            ground = base.result()
        engine().build(folder, one.reference, ground, draft / one.archive.name, step)
        shutil.rmtree(folder)

    log_of(name).unlink(missing_ok=True)
    step.say("another build of the same image")
    cache.entry(f"images/{name}", one.archive.parent.name, assemble)
    cache.prune(f"images/{name}", KEPT)
    return one.archive


def main() -> None:
    """Builds the named images, or all that Fleetmeter runs, and prints each archive's path."""
    words = sys.argv[1:]
    try:
        if words[:1] == ["--contexts"] and len(words) > 1:
            _write_contexts(Path(words[1]), words[2:] or list(PRODUCT))
            return
        with Steps("Images") as steps:
            built = build(words or PRODUCT, steps)
    except Failure as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit("interrupted; what was complete stays in the cache")
    for one in built.values():
        print(f"{one.reference}  {one.archive}  {one.archive.stat().st_size / 1e6:.0f} MB")  # noqa: T201


def _write_contexts(target: Path, names: list[str]) -> None:
    with Steps(f"Build contexts in {target}") as steps:
        for name in names:
            steps.run(f"context of {name}", partial(_write_context, name, target / name), log=log_of(name))


def _write_context(name: str, target: Path, step: Step) -> None:
    if target.exists():
        raise Failure(f"{target} exists", remedy="remove it, or name another folder")
    context(name, target, step)


if __name__ == "__main__":
    main()
