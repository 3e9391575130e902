"""`fleetmeter replay` on a line that has invoiced: all is read again, and nothing is different afterwards."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleetmeter_local.worker import Worker

TOKEN = "a-token"
NO_DECISION = ("replay", "partition_offset", "period_completeness", "contract_refusal", "registry_change")
"""Tables that say nothing of what was billed: the request itself, positions, what the API looks up again."""


def digest(line: Any) -> dict[str, str]:
    """A hash of every row of the ledger's tables, and of the partitions' counters."""
    tables = {
        name: line.value(f"SELECT md5(string_agg(row::text, chr(10) ORDER BY row::text)) FROM {name} AS row")
        for (name,) in line.rows(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'fleetmeter' AND NOT tablename = ANY(%s)",
            list(NO_DECISION),
        )
    }
    counters = "SELECT md5(string_agg((partition, counted_offset, next_offset, records, decoded, "
    counters += (
        "not_billable, undecodable, items, billed, duplicate, quarantined)::text, ' ' ORDER BY partition))"
    )
    return tables | {"offsets": line.value(f"{counters} FROM partition_offset")}


@pytest.fixture
def invoiced(line: Any) -> Any:
    """Both traces twice over, with poison, strangers and a forged copy among them, and nine months closed."""
    line.set_up_traces()
    line.send_traces()
    line.send(b"poison", "chirpstack", partition=0)
    line.send_events("stranger", range(50), partition=2)
    line.send_traces()
    known = json.dumps({"device": "stranger", "epoch": "1", "seq": 7, "quantities": {"messages": "5"}})
    line.send(known.encode(), partition=3)
    line.drain()
    line.complete_backfill()
    for month in range(1, 10):
        assert line.close_period(f"eu-20230{month}")[0] == 0
    return line


@pytest.fixture
def api(invoiced: Any, tmp_path: Path) -> Any:
    """The region's API beside it."""
    (tmp_path / "contracts").mkdir()
    entry = {"name": "olga", "role": "operator", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    (tmp_path / "tokens.yaml").write_text(json.dumps({"tokens": [entry]}))
    files = {
        "FLEETMETER_CONTRACTS_DIR": str(tmp_path / "contracts"),
        "FLEETMETER_TOKENS_FILE": str(tmp_path / "tokens.yaml"),
    }
    worker = Worker("api", tmp_path, invoiced.environment("api", **files))
    worker.start()
    try:
        worker.await_ready()
        yield worker
    finally:
        worker.stop()


def described(api: Any, *words: str) -> tuple[list[str], dict[str, str]]:
    """The command and its environment."""
    command = [sys.executable, "-c", "from fleetmeter_cli.main import app; app()", "--api", api.url, "replay"]
    return [*command, *words], {**os.environ, "FLEETMETER_TOKEN": TOKEN, "COLUMNS": "120"}


def replay(api: Any, *words: str) -> subprocess.CompletedProcess[str]:
    command, environment = described(api, *words)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)


def test_everything_again_changes_nothing(invoiced: Any, api: Any) -> None:
    """An idle consumer notices, reads all of it, and every row, counter and invoice is as it was."""
    line = invoiced
    before = digest(line)
    worker = line.consume()
    line.await_true(lambda: any(each["event"] == "positioned" for each in worker.lines), "its position")
    done = replay(api, "--from-offset", "0", "--output", "json")
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)
    assert {part["partition"]: part["to"] - part["from"] for part in entry["partitions"]} == dict(
        line.rows("SELECT partition, records FROM partition_offset WHERE records > 0")
    )
    assert (entry["actor"], entry["after"]) == ("olga", entry["before"])
    assert entry["before"]["events"] == line.value("SELECT count(*) FROM event WHERE verdict = 0") > 10_000
    assert digest(line) == before
    assert worker.stop() == 0
    assert sum(each.get("records", 0) for each in worker.lines if each["event"] == "decided") == line.sent


def test_parts_of_it_and_under_load(invoiced: Any, api: Any) -> None:
    """No consumer, then one killed in the middle, and new messages; then one partition, one period."""
    line = invoiced
    tables = {
        name: value for name, value in digest(line).items() if name in ("event", "invoice", "usage_hour")
    }
    alone = replay(api, "--from-offset", "0", "--patience", "0")
    assert alone.returncode == 69
    assert f"Nothing was read for 0 s; {line.sent:,} records are left." in alone.stderr
    killed = line.consume()
    command, environment = described(api, "--watch", "1")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as asked:
        stands = "SELECT sum(next_offset)::int FROM partition_offset WHERE next_offset < counted_offset"
        line.await_true(lambda: line.value(stands), "the consumer to be in the middle of it")
        killed.kill()
        line.send_traces()
        line.flush()
        line.consume()
        told, _ = asked.communicate(timeout=180)
    assert asked.returncode == 0, told
    assert "again and changed nothing." in told
    for words in (["--from-offset", "3", "--partition", "1"], ["--billing-period", "eu-202303"]):
        done = replay(api, *words)
        assert done.returncode == 0, done.stderr + done.stdout
        assert "again and changed nothing." in done.stdout
    line.await_true(lambda: line.decided() == line.sent, "the new messages")
    assert {name: digest(line)[name] for name in tables} == tables
    assert line.value("SELECT count(*)::int FROM replay") == 3
    assert replay(api, "--list").stdout.count("olga") == 3
