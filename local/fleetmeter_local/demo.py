"""`make local`: from nothing to invoices, as processes on loopback."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from fleetmeter_cluster.progress import Step, Steps, await_true
from fleetmeter_cluster.site import EXAMPLES, LOADS, PROJECT, TRACES, backfill_of
from fleetmeter_local import needs
from fleetmeter_local.line import Line
from fleetmeter_local.process import Process, ProcessError
from fleetmeter_local.running import Note, noted, start_time

OUTPUT = PROJECT / "demo-output" / "local"
ACCEPTED = 'fleetmeter_gateway_accepted_total{entry="mqtt"}'


@contextmanager
def running_line(example: Path = EXAMPLES) -> Generator[Line]:
    """A line of its own directory; however the block ends, everything it started ends, and its files go.

    After a failure the directory stays, for its logs. SIGTERM ends the block as Ctrl-C does.
    """
    needs.check()
    directory = Path(tempfile.mkdtemp(prefix="fleetmeter-local-"))
    # The engines' own accounts have to enter it.
    directory.chmod(0o711)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    line = Line(directory, example)
    failed = False
    try:
        yield line
    except KeyboardInterrupt:
        raise
    except BaseException:
        failed = True
        raise
    finally:
        line.stop()
        signal.signal(signal.SIGTERM, before)
        if not failed:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def noted_line(line: Line) -> Generator[None]:
    """Let `status` and `down` find a line whose ports are known."""
    pid = os.getpid()
    broker = f"127.0.0.1:{line.mosquitto.port}"
    started = start_time(pid) or ""
    with noted(Note(pid, started, str(line.directory), line.api.url, line.gateway.url, broker)):
        yield


def bring_up(steps: Steps, line: Line) -> None:
    """Start engines and workers. Processes are started here, not in a step: they end with their thread."""
    line.start_engines()
    steps.run("Kafka, PostgreSQL and Mosquitto", lambda _: line.await_engines(), log=line.logs)
    steps.run("the ledger's schema and the topic", lambda _: line.migrate(), log=line.logs / "migrate.log")
    line.start_workers()
    steps.run("gateway, consumer and region API", lambda _: line.await_workers(), log=line.logs)


def replay(steps: Steps, line: Line, traces: dict[str, str] | None = None) -> None:
    """Register the devices, load the traces as history, and say that the history is complete."""
    devices = (EXAMPLES / "devices.ndjson").read_bytes()
    steps.run("register the devices", lambda _: line.call("POST", "/v1/devices", content=devices))
    backfill = backfill_of(line.files.region)
    for adapter, name in (traces or LOADS).items():
        job = line.load(TRACES / name, adapter, backfill)
        steps.run(f"load {name}", lambda step, job=job: _await_load(line, job, step), log=job.log)
    steps.run("complete the backfill", lambda _: line.call("POST", f"/v1/backfills/{backfill}/complete"))


def close_all(steps: Steps, line: Line) -> None:
    """Close the billing periods, oldest first, each as soon as the region says that it can be."""
    for name in sorted(line.status()["periods"]):
        log = line.logs / f"close-{name}.log"
        steps.run(f"close {name}", lambda step, name=name: _close(line, name, step), log=log)


def save(line: Line, output: Path) -> list[dict[str, Any]]:
    """Write each invoice as JSON, to the byte, and as a page; returns the documents by number."""
    for old in [*output.glob("*.json"), *output.glob("*.html")]:
        old.unlink()
    line.save_invoices(output)
    return [json.loads(path.read_bytes()) for path in sorted(output.glob("*.json"))]


def show(console: Console, line: Line, output: Path) -> None:
    """The invoices, what was set aside, and where to look."""
    console.print()
    line.show("invoices", "list")
    counted = line.status()["consumer"]
    decided = {
        "billed": counted["billed"],
        "copies": counted["duplicate"],
        "set aside": counted["quarantined"],
    }
    rest = counted["records"] - sum(decided.values())
    told = ", ".join(f"{count:,} {word}" for word, count in decided.items())
    console.print(f"\n{counted['records']:,} messages: {told}, {rest:,} no usage (status messages).")
    console.print(f"Each invoice as JSON and as a page: {output}/")


def _await_load(line: Line, job: Process, step: Step) -> None:
    step.say(lambda: f"{line.gateway.metrics().get(ACCEPTED, 0):,.0f} messages are in Kafka")
    code = job.await_end(seconds=900)
    if code:
        raise ProcessError(f"{job.name} ended with code {code}. {job.last_words()}")


def _close(line: Line, name: str, step: Step) -> None:
    def sealable() -> bool:
        period = line.status()["periods"][name]
        step.say(period["message"] or "the close")
        return bool(period["sealable"])

    await_true(sealable, f"{name} to be sealable", step=step, seconds=300)
    line.close(name)
