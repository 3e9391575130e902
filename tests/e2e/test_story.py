"""From devices' messages to invoices on a real cluster, while pods are killed in the middle."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fleetmeter_cluster import demo
from fleetmeter_cluster.progress import await_true
from fleetmeter_cluster.site import LOADS, TRACES, Site

DEVICE_OF = {"helium": "dev_eui", "chirpstack": "devEUI"}
COUNTER_OF = {"helium": "fcnt", "chirpstack": "fCnt"}


def lines(trace: str) -> list[bytes]:
    """A trace's lines."""
    with gzip.open(TRACES / trace) as file:
        return file.read().splitlines()


def frames_by_month() -> Counter[str]:
    """Distinct frames by month of their first copy, counted without any code of the project."""
    seen: set[tuple[str, str | None, int]] = set()
    months: Counter[str] = Counter()
    for adapter, trace in LOADS.items():
        for line in lines(trace):
            record = json.loads(line)
            if COUNTER_OF[adapter] not in record:
                continue
            frame = (record[DEVICE_OF[adapter]], record.get("devaddr"), record[COUNTER_OF[adapter]])
            if frame not in seen:
                seen.add(frame)
                received = datetime.fromtimestamp(record["_timestamp"] / 1000, UTC)
                months[f"eu-{received:%Y%m}"] += 1
    return months


def invoices(folder: Path) -> dict[str, bytes]:
    """Every invoice's bytes by file name."""
    return {file.name: file.read_bytes() for file in sorted(folder.rglob("*.json"))}


def test_each_invoice_counts_the_distinct_frames_of_its_month(billed: Path) -> None:
    counted: Counter[str] = Counter()
    for body in invoices(billed).values():
        invoice = json.loads(body)
        counted[invoice["period"]["billingPeriod"]] += invoice["events"]
    assert +counted == frames_by_month()


def test_invoices_equal_those_of_the_line_without_kubernetes(billed: Path, local_invoices: Path) -> None:
    assert invoices(billed)
    assert invoices(billed) == invoices(local_invoices)


def test_every_invoice_has_a_page(billed: Path) -> None:
    pages = {file.stem for file in billed.rglob("*.html")}
    assert pages == {Path(name).stem for name in invoices(billed)}


def test_a_trace_loaded_again_changes_nothing(
    billed: Path, region: Site, psql: Callable[[str], str], tmp_path: Path
) -> None:
    before = psql("select count(*), sum(quantity) from fleetmeter.event where verdict = 0")
    duplicates = int(psql("select sum(duplicate) from fleetmeter.partition_offset"))
    frames = len(lines(LOADS["helium"]))
    region.load(demo.backfill_id(), TRACES / LOADS["helium"], "helium")

    def consumed() -> bool:
        now = int(psql("select sum(duplicate) from fleetmeter.partition_offset"))
        return now >= duplicates + frames

    await_true(consumed, "every copy to be counted as a duplicate", seconds=120)
    assert psql("select count(*), sum(quantity) from fleetmeter.event where verdict = 0") == before
    region.fleetmeter("invoices", "save", tmp_path)
    assert invoices(tmp_path) == invoices(billed)


def test_what_was_read_is_what_was_decided(billed: Path, psql: Callable[[str], str]) -> None:
    unequal = psql(
        "select count(*) from fleetmeter.partition_offset"
        " where records <> decoded + not_billable + undecodable or items <> billed + duplicate + quarantined"
    )
    assert billed.is_dir()
    assert unequal == "0"
    assert int(psql("select sum(billed) from fleetmeter.partition_offset")) == sum(frames_by_month().values())
