"""A way into the cluster: a `kubectl port-forward` that ends with the command."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fleetmeter_cli.problem import UNREACHABLE, Problem

_START_SECONDS = 30
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@contextmanager
def forwarded(namespace: str, service: str, port: int) -> Generator[str]:
    """The address on this machine of a Service's port, while the context lasts. Raises Problem."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise Problem(
            "kubectl is not on the PATH, so no way into the cluster can be opened.",
            "Install kubectl, or name the region's address by --api.",
            UNREACHABLE,
        )
    command = [kubectl, "--namespace", namespace, "port-forward", "--address", "127.0.0.1"]
    with tempfile.TemporaryDirectory(prefix="fleetmeter-") as folder:
        log = Path(folder, "port-forward.log")
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - kubectl with our own arguments
                [*command, f"service/{service}", f":{port}"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            yield f"http://127.0.0.1:{_await_port(process, log, namespace, service)}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_port(process: subprocess.Popen[bytes], log: Path, namespace: str, service: str) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        found = _FORWARDING.search(said)
        if found:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    last = log.read_text(errors="replace").strip().splitlines()
    raise Problem(
        f"kubectl opened no way to service {service} in namespace {namespace}"
        + (f": {last[-1]}" if last else "."),
        f"Look at `kubectl --namespace {namespace} get service {service} pods`, or name an address by --api.",
        UNREACHABLE,
    )
