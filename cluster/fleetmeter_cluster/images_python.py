"""What a Python image holds: third-party packages by the lock, and our own source folders."""

import functools
import platform
import shutil
import subprocess
from pathlib import Path

from fleetmeter_cluster import cache
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = "3.11"
"""The Python of Debian bookworm."""

SOURCES = {
    "operator": ("crds/fleetmeter_api", "rules/fleetmeter_rules", "operator/fleetmeter_operator"),
    "workers": (
        "crds/fleetmeter_api",
        "rules/fleetmeter_rules",
        "wire/fleetmeter_wire",
        "workers/fleetmeter_workers",
    ),
}
"""The packages that an image runs, by the extra whose third-party packages it needs."""


def source_folders(extra: str) -> tuple[Path, ...]:
    """Our packages that the image of this extra runs."""
    return tuple(PROJECT / folder for folder in SOURCES[extra])


@functools.cache
def requirements(extra: str) -> str:
    """The exact third-party packages of an extra, each with its hashes, as the lock has them."""
    command = [_uv(), "export", "--frozen", "--no-dev", f"--extra={extra}", "--no-emit-project"]
    command += ["--no-header", "--no-annotate"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Failure(f"uv export failed: {done.stderr.strip()}", remedy="uv lock, then try again")
    return done.stdout


def site_key(extra: str) -> str:
    """What the packages of an extra depend on."""
    return cache.digest([requirements(extra), PYTHON, platform.machine()])


def site(extra: str, step: Step) -> Path:
    """A folder with the extra's packages for the image's Python, from wheels only."""
    return cache.entry("site", site_key(extra), lambda draft: _install(extra, draft, step))


def _install(extra: str, draft: Path, step: Step) -> None:
    step.say("Python packages")
    listing = draft / "requirements.txt"
    listing.write_text(requirements(extra))
    step.command(
        [
            _uv(),
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--only-binary=:all:",
            f"--python-version={PYTHON}",
            f"--python-platform={platform.machine()}-manylinux_2_36",
            "--link-mode=copy",
            f"--target={draft}",
            f"--requirement={listing}",
        ]
    )
    listing.unlink()
    shutil.rmtree(draft / "bin", ignore_errors=True)


def _uv() -> str:
    found = shutil.which("uv") or next((str(f) for f in cache.root().glob("uv-*/bin/uv")), None)
    if not found:
        raise Failure("uv is not there", remedy="run this through make, which brings it")
    return found
