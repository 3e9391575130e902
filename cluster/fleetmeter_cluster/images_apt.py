"""What this machine's own package client says about the Debian archive: no mirror is named anywhere else."""

import re
import shutil
import subprocess
from pathlib import Path

from fleetmeter_cluster.failure import Failure

SUITE = "bookworm"
ARCHIVE = re.compile(r"/debian(-security)?(/|$)")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def sources() -> str:
    """The machine's lines for Debian bookworm, as in sources.list. Raises Failure where it has none."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    lines = [
        line.split() for line in _ask("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    ]
    kept = [
        f"deb {uri} {suite} {component}"
        for uri, suite, component in lines
        if suite.split("-")[0] == SUITE and component == "main" and ARCHIVE.search(uri)
    ]
    if not any(line.split()[2] == SUITE for line in kept):
        raise Failure(
            f"this machine's apt knows no archive of Debian {SUITE}, and no Docker engine answers",
            remedy="build on Debian 12 with its usual apt sources, or start a Docker engine",
        )
    return "".join(f"{line}\n" for line in dict.fromkeys(kept))


def options() -> str:
    """The machine's ways to reach the archive (proxies, certificates), as in apt.conf."""
    wanted = re.compile(r'Acquire::(https?|Retries)\S* ".+";')
    return "".join(f"{line}\n" for line in _ask("apt-config", "dump", "Acquire") if wanted.fullmatch(line))


def mounts(folder: Path) -> list[str]:
    """Writes both into a folder and returns the mounts (from:to:ro) that give them to a build."""
    (folder / "sources.list").write_text(sources())
    settings = folder / "apt.conf.d"
    (settings / "trust").mkdir(parents=True)
    text = options()
    if CERTIFICATES.exists():
        shutil.copyfile(CERTIFICATES, settings / "trust" / "ca.crt")
        text += 'Acquire::https::CAInfo "/etc/apt/apt.conf.d/trust/ca.crt";\n'
    (settings / "machine").write_text(text)
    return [f"{folder / 'sources.list'}:/etc/apt/sources.list:ro", f"{settings}:/etc/apt/apt.conf.d:ro"]


def _ask(*command: str) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(
            f"{command[0]} does not answer", remedy="build on Debian 12, or start a Docker engine"
        ) from error
    return done.stdout.splitlines()
