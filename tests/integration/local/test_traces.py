"""The whole line on loopback: the invoices of two real traces, twice, to the byte."""

import gzip
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fleetmeter_cluster.progress import Steps
from fleetmeter_cluster.site import LOADS, TRACES, backfill_of
from fleetmeter_local.demo import bring_up, close_all, replay, running_line, save
from fleetmeter_local.line import Line

HELIUM = "AW-2023-01"
CHIRPSTACK = "HL-2023-06"
KNOWN = {
    (HELIUM, "eu-202301"): 739,
    (HELIUM, "eu-202303"): 310,
    (HELIUM, "eu-202305"): 1917,
    (HELIUM, "eu-202306"): 1835,
    (HELIUM, "eu-202307"): 1343,
    (CHIRPSTACK, "eu-202306"): 764,
    (CHIRPSTACK, "eu-202307"): 2753,
    (CHIRPSTACK, "eu-202308"): 2653,
    (CHIRPSTACK, "eu-202309"): 3247,
}


def counted(contract: str, file: str, device: str, counter: str) -> dict[tuple[str, str], int]:
    """Distinct frames by the month of their first copy, counted from the file alone."""
    first: dict[tuple[Any, ...], int] = {}
    for line in gzip.decompress((TRACES / file).read_bytes()).splitlines():
        message = json.loads(line)
        if counter not in message:
            continue
        frame = (message[device].lower(), message.get("devaddr"), message[counter])
        first[frame] = min(first.get(frame, message["_timestamp"]), message["_timestamp"])
    months: dict[tuple[str, str], int] = defaultdict(int)
    for milliseconds in first.values():
        months[contract, f"{datetime.fromtimestamp(milliseconds / 1000, UTC):eu-%Y%m}"] += 1
    return dict(months)


def story(line: Line, output: Path) -> list[dict[str, Any]]:
    """What `make local` does."""
    with Steps("the line") as steps:
        bring_up(steps, line)
        replay(steps, line)
        close_all(steps, line)
    return save(line, output)


def files(folder: Path) -> dict[str, bytes]:
    """The names and bytes of a folder's files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A line that has closed the nine months, with its invoices and their folder."""
    output = tmp_path_factory.mktemp("first")
    with running_line() as line:
        yield line, story(line, output), output


def test_the_independent_count_is_the_known_one() -> None:
    helium = counted(HELIUM, LOADS["helium"], "dev_eui", "fcnt")
    chirpstack = counted(CHIRPSTACK, LOADS["chirpstack"], "devEUI", "fCnt")
    assert helium | chirpstack == KNOWN


def test_each_invoice_bills_the_distinct_frames_of_its_month(billed: Any) -> None:
    _, invoices, _ = billed
    events = {(row["contract"], row["period"]["billingPeriod"]): row["events"] for row in invoices}
    assert {key: count for key, count in events.items() if count} == KNOWN
    assert len(events) == len(invoices) == 13
    assert [row["number"] for row in invoices] == [f"EU-{number:06}" for number in range(1, 14)]


def test_nothing_is_lost_or_set_aside(billed: Any) -> None:
    line, _, _ = billed
    seen = line.status()["consumer"]
    status_messages = 368
    assert seen["records"] == 9786 + 8110
    assert seen["billed"] == sum(KNOWN.values())
    assert seen["quarantined"] == 0
    assert seen["records"] == seen["billed"] + seen["duplicate"] + status_messages


def test_a_trace_loaded_again_changes_nothing(billed: Any, tmp_path: Path) -> None:
    line, _, output = billed
    before = line.status()
    load = line.load(TRACES / LOADS["helium"], "helium", backfill_of(line.files.region))
    assert load.await_end(seconds=120) == 0

    def all_read() -> bool:
        return line.status()["consumer"]["records"] == before["consumer"]["records"] + 8110

    line.consumer.process.await_ready(all_read, seconds=60)
    after = line.status()
    assert after["consumer"]["billed"] == before["consumer"]["billed"]
    assert after["consumer"]["quarantined"] == 0
    assert after["consumer"]["duplicate"] == before["consumer"]["duplicate"] + 8110
    line.close("eu-202305")
    save(line, tmp_path)
    assert files(tmp_path) == files(output)
