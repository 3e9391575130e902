"""The Kafka of the image and of `make local`: the broker's jars and a small Java runtime in one directory."""

import functools
import shutil
from pathlib import Path

from fleetmeter_cluster import cache, command
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step

SOURCE = Path(__file__).resolve().parents[2] / "images" / "kafka"
"""The image's folder; `start-kafka` in it runs a node from any KAFKA_HOME with its data in KAFKA_DATA."""

MODULES = (
    "java.base,java.desktop,java.logging,java.management,java.naming,java.security.jgss,java.security.sasl,"
    "java.sql,java.xml,jdk.crypto.ec,jdk.management,jdk.unsupported,jdk.zipfs"
)
"""What Kafka needs of Java (java.desktop for java.beans)."""


def kafka_home(step: Step | None = None) -> Path:
    """A directory with `libs/` (jars) and `runtime/` (Java), from the cache or made now in about 15 seconds.

    A step shows what it waits for, and ends it when the tool is interrupted.
    Raises Failure where Maven or a JDK is missing, or the jars can't be fetched.
    """
    return cache.entry("kafka", kafka_key(), lambda draft: _make(draft, step))


@functools.cache
def kafka_key() -> str:
    """What the home depends on: the list of jars, and the Java of this machine."""
    java = command.run([_tool("java", "openjdk-17-jdk-headless"), "--version"])
    return cache.digest([SOURCE / "pom.xml", Path(__file__), java])


def _make(home: Path, step: Step | None) -> None:
    run = step.command if step else command.run
    fetch = [_tool("mvn", "maven"), "--batch-mode", "--quiet", f"--file={SOURCE / 'pom.xml'}"]
    fetch += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={home / 'libs'}"]
    run(fetch)
    link = [_tool("jlink", "openjdk-17-jdk-headless"), f"--add-modules={MODULES}", "--compress=2"]
    link += ["--strip-java-debug-attributes", "--no-header-files", "--no-man-pages"]
    run([*link, f"--output={home / 'runtime'}"])
    # Each start then reads the basic classes from a map: 0.4 s of processor time less.
    run([home / "runtime" / "bin" / "java", "-Xshare:dump"])


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if not found:
        raise Failure(f"{name} is not installed", remedy=f"apt-get install --no-install-recommends {package}")
    return found


def main() -> None:
    """Prints the home, making it first where it is missing."""
    print(kafka_home())  # noqa: T201


if __name__ == "__main__":
    main()
