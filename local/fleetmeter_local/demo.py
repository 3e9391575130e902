"""`make local`: from nothing to invoices, as processes on loopback."""

import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fleetmeter_cluster.progress import Step, Steps, await_true
from fleetmeter_cluster.site import EXAMPLES, LOADS, PROJECT, TRACES
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
    backfill = backfill_id(line)
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
    output.mkdir(parents=True, exist_ok=True)
    for old in [*output.glob("*.json"), *output.glob("*.html")]:
        old.unlink()
    documents: list[dict[str, Any]] = []
    for entry in line.call("GET", "/v1/invoices", role="reader").json()["invoices"]:
        path = f"/v1/invoices/{entry['number']}"
        document = line.call("GET", path, role="reader")
        page = line.call("GET", f"{path}/page", role="reader")
        (output / f"{entry['number']}.json").write_bytes(document.content)
        (output / f"{entry['number']}.html").write_bytes(page.content)
        documents.append(document.json())
    return documents


def backfill_id(line: Line) -> str:
    """The backfill that the region asks for. Raises ProcessError when it asks for none."""
    wanted = line.files.region.spec.backfill
    if wanted is None:
        raise ProcessError("the region's spec has no backfill; the traces are history and need one")
    return wanted.backfill_id


def show(console: Console, line: Line, invoices: list[dict[str, Any]], output: Path) -> None:
    """The invoices, what was set aside, and where to look."""
    table = Table(title="Invoices", title_justify="left", header_style="bold", show_footer=True)
    table.add_column("number", footer=f"{len(invoices)} invoices")
    table.add_column("contract")
    table.add_column("period")
    table.add_column("events", justify="right", footer=f"{sum(row['events'] for row in invoices):,}")
    table.add_column("total", justify="right", footer="\n".join(_sums(invoices)))
    for row in invoices:
        total = f"{row['total']} {row['currency']}"
        table.add_row(
            row["number"], row["contract"], row["period"]["billingPeriod"], f"{row['events']:,}", total
        )
    console.print()
    console.print(table)
    counted = line.status()["consumer"]
    decided = {
        "billed": counted["billed"],
        "copies": counted["duplicate"],
        "set aside": counted["quarantined"],
    }
    rest = counted["records"] - sum(decided.values())
    told = ", ".join(f"{count:,} {word}" for word, count in decided.items())
    console.print(f"{counted['records']:,} messages: {told}, {rest:,} no usage (status messages).")
    console.print(f"Each invoice as JSON and as a page: {output}/")


def _sums(invoices: list[dict[str, Any]]) -> list[str]:
    """The invoices' total in each currency."""
    currencies = sorted({row["currency"] for row in invoices})
    return [
        f"{sum(Decimal(row['total']) for row in invoices if row['currency'] == currency):,} {currency}"
        for currency in currencies
    ]


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
