"""`fleetmeter simulate`: the same bytes for the same seed, files in the agreed form, nothing half done."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fleetmeter_cli.fleet import arrival
from fleetmeter_cli.fleet.comparison import setting_of
from fleetmeter_cli.fleet.fleet import MESSAGES, REGISTRY, TRUTH, Fleet
from fleetmeter_cli.fleet.poison import KINDS
from fleetmeter_cli.fleet.profile import Profile, ProfileError
from fleetmeter_cli.main import app
from fleetmeter_cli.preview_input import read_registry
from fleetmeter_cli.trace import read_lines
from fleetmeter_cli.trial import BILLED, Trial
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import Decoded

FILES = (MESSAGES, REGISTRY, TRUTH)
PLAIN = Profile(devices=6, days=10, seed=7, every_seconds=7200)
SMALL = replace(PLAIN, replaced=0.3, sold=0.3, poison=0.05)
GOLDEN = {
    MESSAGES: "8f292ac6124ff9ff05d2f635681641c273a5ce4aaae660a6bcdbeb5d37a29b7e",
    REGISTRY: "62a223dbc65c9b8c84f306ebb124ed044eb3afeac56fb29812a47927dd65812d",
    TRUTH: "149b526819d5edb50d01e00c91b62034617b31e995ca70d0544137a97dc8c2b5",
}
"""The hashes of SMALL's files: a machine or a Python that gives others breaks every published seed."""


def _write(folder: Path, profile: Profile) -> Fleet:
    folder.mkdir(exist_ok=True)
    fleet = Fleet(profile)
    for _ in fleet.write(folder):
        pass
    return fleet


def _hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def _objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _simulate(out: Path, *options: object) -> Result:
    arguments = [
        "simulate",
        "--devices",
        5,
        "--days",
        8,
        "--every",
        7200,
        "--seed",
        3,
        "--out",
        out,
        *options,
    ]
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


def _changed(**changes: Any) -> Profile:
    return replace(PLAIN, **changes)


def test_the_bytes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    _write(tmp_path, SMALL)
    assert _hashes(tmp_path) == GOLDEN


def test_another_seed_is_another_fleet(tmp_path: Path) -> None:
    _write(tmp_path / "a", _changed(seed=1))
    _write(tmp_path / "b", _changed(seed=2))
    a, b = _hashes(tmp_path / "a"), _hashes(tmp_path / "b")
    assert not set(a.values()) & set(b.values())


def test_which_facts_devices_tell_changes_nothing_else(tmp_path: Path) -> None:
    _write(tmp_path / "all", _changed())
    _write(tmp_path / "none", _changed(share_sent_at=0.0, share_uptime=0.0))
    everything, nothing = _hashes(tmp_path / "all"), _hashes(tmp_path / "none")
    assert everything[TRUTH] == nothing[TRUTH]
    assert everything[MESSAGES] != nothing[MESSAGES]
    assert b"sentAt" not in (tmp_path / "none" / MESSAGES).read_bytes()
    assert b'"boot"' not in (tmp_path / "none" / MESSAGES).read_bytes()


def test_a_share_of_devices_tells_a_fact(tmp_path: Path) -> None:
    _write(tmp_path, _changed(devices=80, days=1, share_sent_at=0.5, share_uptime=0.25, poison=0.0))
    told = {line["device"]: ("sentAt" in line, "uptime" in line) for line in _objects(tmp_path / MESSAGES)}
    sent_at, uptime = (sum(fact) for fact in zip(*told.values(), strict=True))
    assert 28 <= sent_at <= 52
    assert 10 <= uptime <= 32


def test_messages_are_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    _write(tmp_path, SMALL)
    times = [line.received for line in read_lines(tmp_path / MESSAGES, "_timestamp")]
    known = [time for time in times if time is not None]
    assert known == sorted(known)
    assert len(known) > 600


def test_a_large_fleet_is_sorted_on_disk_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "memory", SMALL)
    monkeypatch.setattr(arrival, "BATCH", 2)
    _write(tmp_path / "disk", SMALL)
    assert (tmp_path / "memory" / MESSAGES).read_bytes() == (tmp_path / "disk" / MESSAGES).read_bytes()
    assert (tmp_path / "memory" / REGISTRY).read_bytes() == (tmp_path / "disk" / REGISTRY).read_bytes()
    truths = [sorted((tmp_path / name / TRUTH).read_bytes().splitlines()) for name in ("memory", "disk")]
    assert truths[0] == truths[1]
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == sorted(FILES)


def test_the_truth_names_each_event_that_the_messages_tell(tmp_path: Path) -> None:
    fleet = _write(tmp_path, SMALL)
    truths = _objects(tmp_path / TRUTH)
    names = "event_id device customer metric quantity true_time period delivered received"
    assert " ".join(truths[0]) == names
    assert {true["period"] for true in truths} == {"2026-03", "2026-04"}
    assert all(true["true_time"].startswith(true["period"]) for true in truths)
    assert len({true["event_id"] for true in truths}) == len(truths)
    trial = Trial(setting_of(tmp_path))
    lines = read_lines(tmp_path / MESSAGES, "_timestamp")
    seen = Counter(trial.take("json", line.raw, line.received).event_id for line in lines)
    assert {true["event_id"] for true in truths if true["delivered"]} <= seen.keys()
    undelivered = {true["event_id"] for true in truths if not true["delivered"]}
    assert len(undelivered) == fleet.contents.counts.get("events lost for good", 0)
    assert not undelivered & seen.keys()


def test_the_registry_is_what_devices_import_and_preview_take(tmp_path: Path) -> None:
    _write(tmp_path, _changed(devices=40, sold=1.0, replaced=0.5))
    registry = read_registry(tmp_path / REGISTRY)
    lines = _objects(tmp_path / REGISTRY)
    assert set(lines[0]) == {"uid", "alias", "customer", "deviceClass", "validFrom", "validTo"}
    assert {line["uid"] for line in lines} == registry.keys()
    by_device: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_device.setdefault(line["uid"], []).append(line)
    sold = [held for held in by_device.values() if len(held) == 2]
    assert len(sold) > 20
    for first, second in sold:
        assert first["validTo"] == second["validFrom"]
        assert first["customer"] != second["customer"]
        assert first["alias"] == second["alias"]


def test_the_owner_in_the_truth_is_the_one_at_the_event(tmp_path: Path) -> None:
    _write(tmp_path, _changed(devices=20, sold=1.0, replaced=0.5))
    registry = _objects(tmp_path / REGISTRY)
    for true in _objects(tmp_path / TRUTH):
        owners = {
            line["customer"]
            for line in registry
            if line["uid"] == true["device"]
            and line["validFrom"] <= true["true_time"]
            and (line["validTo"] is None or true["true_time"] < line["validTo"])
        }
        assert owners == {true["customer"]}


@pytest.mark.parametrize("kind", KINDS)
def test_poison_is_never_billed(tmp_path: Path, kind: Any) -> None:
    _write(tmp_path, SMALL)
    trial = Trial(setting_of(tmp_path))
    raw = kind(1_775_000_000_000, "sim7-000000").encode(errors="surrogateescape")
    assert trial.take("json", raw, 1_775_000_000_000_000).verdict != BILLED


def test_every_kind_of_poison_is_another_one() -> None:
    texts = {kind(1_775_000_000_000, "d") for kind in KINDS}
    assert len(texts) == len(KINDS)


def test_other_metrics_have_decimals(tmp_path: Path) -> None:
    _write(tmp_path, _changed(metric="energy_kwh", poison=0.0))
    quantities = {true["quantity"] for true in _objects(tmp_path / TRUTH)}
    assert len(quantities) > 100
    assert all(len(quantity.partition(".")[2]) == 3 for quantity in quantities)
    first = (tmp_path / MESSAGES).read_bytes().splitlines()[0]
    message = decode("json", first)
    assert isinstance(message, Decoded)
    assert message.items[0].metric == "energy_kwh"


def test_a_run_that_is_stopped_leaves_the_old_files(tmp_path: Path) -> None:
    _write(tmp_path, SMALL)
    before = _hashes(tmp_path)
    stopped = Fleet(_changed(seed=99)).write(tmp_path)
    for _ in range(50):
        next(stopped)
    stopped.close()
    assert _hashes(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_the_command_says_what_is_in_it_and_compares(tmp_path: Path) -> None:
    result = _simulate(tmp_path / "new" / "fleet", "--compare")
    assert result.exit_code == 0, result.output
    assert "Simulated fleet, seed 3" in result.output
    assert "billed once, in the right month" in result.output
    rows = [line.split() for line in result.output.splitlines()]
    right = next(row for row in rows if row[:2] == ["billed", "once,"])
    arrived = next(row for row in rows if row[:1] == ["arrived"])
    assert right[-3] == arrived[-3]
    assert sorted(path.name for path in (tmp_path / "new" / "fleet").iterdir()) == sorted(FILES)


def test_the_start_can_be_chosen(tmp_path: Path) -> None:
    result = _simulate(tmp_path, "--start", "2024-02-26")
    assert result.exit_code == 0, result.output
    assert {true["period"] for true in _objects(tmp_path / TRUTH)} == {"2024-02", "2024-03"}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--share-uptime", "1.5", "share"),
        ("--lost", "-0.1", "share"),
        ("--outages", "nan", "rate"),
        ("--metric", "Not A Code", "--metric"),
        ("--start", "1999-01-01", "--start"),
        ("--guard-seconds", "90000", "--guard-seconds"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, option: str, value: str, said: str) -> None:
    result = _simulate(tmp_path, option, value)
    assert result.exit_code == 2
    assert said in result.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = _simulate(tmp_path / "file" / "below")
    assert result.exit_code == 2
    assert "below" in result.output


def test_a_profile_is_checked() -> None:
    with pytest.raises(ProfileError, match="--devices"):
        Profile(devices=0, days=1, seed=0)
    with pytest.raises(ProfileError, match="--every"):
        Profile(devices=1, days=1, seed=0, every_seconds=0)
