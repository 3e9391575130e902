"""`fleetmeter load`: every line arrives, as it is, whatever happens on the way."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.worker import Worker

from .conftest import TOKENS, Site

TRACES = Path(__file__).parents[3] / "examples" / "traces"
HELIUM = TRACES / "helium-ems-04b1c1.ndjson.gz"
ACCEPTED = 'fleetmeter_gateway_accepted_total{entry="mqtt"}'
PASSWORD = "TEST_MQTT_PASSWORD"


def command(site: Site, *words: str | Path, adapter: str = "helium") -> subprocess.Popen[str]:
    """Start the command against the site's broker, as the user of its backfills."""
    program = Path(sys.executable).with_name("fleetmeter")
    address = f"127.0.0.1:{site.broker.port}"
    defaults = ["--mqtt", address, "--password-env", PASSWORD, "--backfill", "20230101-20231001"]
    return subprocess.Popen(
        [str(word) for word in (program, "load", *words, "--adapter", adapter, *defaults)],
        env=os.environ | {PASSWORD: site.broker.passwords["backfill"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(loading: subprocess.Popen[str], seconds: float = 120) -> tuple[int, str]:
    """The exit code and what was said, in one line."""
    said, _ = loading.communicate(timeout=seconds)
    return loading.returncode, " ".join(said.split())


def lines_of(path: Path) -> list[bytes]:
    """The lines of a gzipped file."""
    return gzip.decompress(path.read_bytes()).splitlines()


def copies(values: Iterable[bytes]) -> Counter[bytes]:
    """How often each value is there."""
    return Counter(values)


def test_a_trace_arrives_whole_with_its_times(site: Site) -> None:
    site.start_gateway()
    code, said = ended(command(site, HELIUM))
    assert code == 0, said
    assert "Loaded 8,110 messages of helium-ems-04b1c1.ndjson.gz" in said
    # The command's end means that Kafka has all: nothing is waited for here.
    records = site.topic.records(8110, seconds=0)
    assert copies(record.value for record in records) == copies(lines_of(HELIUM))
    for record in records:
        assert record.headers.stated == json.loads(record.value)["_timestamp"] * 1000


def test_http_loads_the_same(site: Site, tmp_path: Path) -> None:
    gateway = site.start_gateway()
    token = tmp_path / "token"
    token.write_text(TOKENS["backfill"] + "\n")
    code, said = ended(command(site, HELIUM, "--http", gateway.url, "--token-file", token))
    assert code == 0, said
    records = site.topic.records(8110, seconds=0)
    assert copies(record.value for record in records) == copies(lines_of(HELIUM))
    assert {record.headers.stated for record in records} == {
        json.loads(line)["_timestamp"] * 1000 for line in lines_of(HELIUM)
    }


def test_bad_lines_are_sent_as_they_are_and_counted(site: Site, tmp_path: Path) -> None:
    site.start_gateway()
    trace = tmp_path / "odd.ndjson"
    lines = [
        b'{"at": "2023-01-04T21:31:22.661Z"}',
        b"\xff no JSON",
        b'{"at": true}',
        b"[1]",
        b'{"at": 1672867882661}',
    ]
    trace.write_bytes(b"\n".join(lines) + b"\n\n")
    code, said = ended(command(site, trace, "--received-field", "at"))
    assert code == 0, said
    assert "3 lines tell no receive time in at" in said
    records = {record.value: record.headers.stated for record in site.topic.records(5, seconds=0)}
    assert records == dict(zip(lines, [1672867882661000, None, None, None, 1672867882661000], strict=True))


def test_a_gateway_killed_in_the_middle_loses_nothing(site: Site) -> None:
    first = site.start_gateway()
    loading = command(site, HELIUM, HELIUM, HELIUM)
    await_true(lambda: _accepted(first) > 1000, "the load to be under way", pause=0.02)
    first.process.kill()
    assert loading.poll() is None, "the load ended before the kill: it proves nothing"
    second = site.start_gateway()
    code, said = ended(loading)
    assert code == 0, said
    assert "Loaded 24,330 messages" in said
    arrived = copies(record.value for record in site.topic.records(24330, seconds=0))
    wanted = copies(lines_of(HELIUM))
    assert set(arrived) == set(wanted)
    assert all(arrived[line] >= 3 * times for line, times in wanted.items())
    assert _accepted(second) > 0


def test_a_broker_restarted_in_the_middle_loses_nothing(site: Site) -> None:
    gateway = site.start_gateway()
    loading = command(site, HELIUM, HELIUM, HELIUM)
    await_true(lambda: _accepted(gateway) > 1000, "the load to be under way", pause=0.02)
    site.broker.stop()
    assert loading.poll() is None, "the load ended before the stop: it proves nothing"
    site.broker.start()
    code, said = ended(loading)
    assert code == 0, said
    arrived = copies(record.value for record in site.topic.records(24330, seconds=0))
    assert all(arrived[line] >= 3 * times for line, times in copies(lines_of(HELIUM)).items())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--user", "ingest"], "Check user and password"),
        (["--mqtt", "nowhere"], "HOST:PORT"),
        (["--mqtt", "127.0.0.1:1", "--patience", "1"], "cannot be reached"),
        (["--password-env", "NOT_SET"], "A secret is needed"),
        (["--patience", "1"], "No gateway is subscribed"),
    ],
)
def test_what_cannot_be_loaded_is_said(site: Site, words: list[str], sentence: str) -> None:
    program = [str(Path(sys.executable).with_name("fleetmeter")), "load", str(HELIUM), "--adapter", "helium"]
    defaults = ["--mqtt", f"127.0.0.1:{site.broker.port}", "--password-env", PASSWORD, "--backfill", "x"]
    done = subprocess.run(
        [*program, *defaults, *words],
        env=os.environ | {PASSWORD: site.broker.passwords["backfill"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = " ".join(done.stderr.split())
    assert done.returncode == 1, said
    assert sentence in said


def test_a_topic_that_is_not_the_users_is_refused(site: Site) -> None:
    site.start_gateway()
    loading = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("fleetmeter")), "load", str(HELIUM), "--adapter", "helium"),
            *("--mqtt", f"127.0.0.1:{site.broker.port}", "--password-env", PASSWORD),
        ],
        env=os.environ | {PASSWORD: site.broker.passwords["backfill"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert loading.returncode == 1
    assert "refuses messages on uplink/helium" in " ".join(loading.stderr.split())


def _accepted(gateway: Worker) -> float:
    return gateway.metrics().get(ACCEPTED, 0)
