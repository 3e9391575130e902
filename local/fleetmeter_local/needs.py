"""What a line on loopback needs of the machine: told before anything is started, with the remedy."""

import shutil
from pathlib import Path

from fleetmeter_local.process import ProcessError

PROGRAMS = {
    "setpriv": "util-linux",
    "java": "openjdk-17-jdk-headless",
    "jlink": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "/usr/lib/postgresql/*/bin/initdb": "postgresql",
}
"""A program, by its name or by where it is, and the Debian package that has it."""

SEARCH_PATH = ":".join(("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"))


def check() -> None:
    """Raises ProcessError that names all that is missing and the command that installs it."""
    missing = sorted({package for program, package in PROGRAMS.items() if not _present(program)})
    if missing:
        names = " ".join(missing)
        raise ProcessError(
            f"Not installed: {', '.join(missing)}. As root: apt-get install --no-install-recommends {names}"
        )


def _present(program: str) -> bool:
    if program.startswith("/"):
        return any(Path("/").glob(program.removeprefix("/")))
    return shutil.which(program) is not None or shutil.which(program, path=SEARCH_PATH) is not None
