"""Simulated faults: each that the command offers is in the files, and a preview sees through them."""

import json
from collections import Counter, defaultdict
from dataclasses import fields
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleetmeter_cli.fleet.chance import chance
from fleetmeter_cli.fleet.fleet import MESSAGES, REGISTRY, TRUTH, Fleet
from fleetmeter_cli.fleet.instant import DAY, MINUTE, SECOND
from fleetmeter_cli.fleet.outage import storms
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.fleet.wall_clock import Habit
from fleetmeter_cli.main import app

NONE: dict[str, Any] = {
    "wrong_clocks": 0.0,
    "boundary_outages": 0.0,
    "outages": 0.0,
    "long_outages": 0.0,
    "storms": 0.0,
    "reboots": 0.0,
    "replaced": 0.0,
    "sold": 0.0,
    "retransmitted": 0.0,
    "lost": 0.0,
    "poison": 0.0,
}
"""No fault at all; a test adds its own."""


def _written(folder: Path, **profile: Any) -> Fleet:
    fleet = Fleet(Profile(**profile))
    for _ in fleet.write(folder):
        pass
    return fleet


def _objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _by_device(objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in objects:
        found[each["device"]].append(each)
    return found


def _millis(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_each_field_of_a_profile_is_an_option() -> None:
    said = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "160"}).output
    for field in fields(Profile):
        assert f"--{field.name.replace('_', '-').removesuffix('-seconds')}" in said


def test_without_faults_each_event_is_one_message_that_arrives_at_once(tmp_path: Path) -> None:
    _written(tmp_path, devices=4, days=3, seed=1, every_seconds=3600, **NONE)
    truths = _objects(tmp_path / TRUTH)
    messages = _objects(tmp_path / MESSAGES)
    assert len(messages) == len(truths) == 4 * 3 * 24
    assert all(true["received"] - _millis(true["true_time"]) < 3 * SECOND for true in truths)
    assert Counter(each["eventAt"] for each in messages) == Counter(true["true_time"] for true in truths)


def test_a_preview_bills_what_the_truth_says(tmp_path: Path) -> None:
    rough = {
        "poison": 0.02,
        "retransmitted": 0.1,
        "sold": 0.3,
        "replaced": 0.3,
        "reboots": 10.0,
        "lost": 0.01,
    }
    _written(tmp_path, devices=12, days=10, seed=5, every_seconds=3600, **rough)
    files = [str(tmp_path / MESSAGES), "--registry", str(tmp_path / REGISTRY)]
    done = CliRunner().invoke(app, ["preview", *files, "-o", "json"])
    assert done.exit_code == 0, done.output
    billed = {
        (row["customer"], row["metric"], row["period"]): row["events"]
        for row in json.loads(done.stdout)["periods"]
        if row["events"]
    }
    true = Counter(
        (each["customer"], each["metric"], each["period"])
        for each in _objects(tmp_path / TRUTH)
        if each["delivered"]
    )
    assert len(true) >= 8
    assert billed == true


def test_a_message_counter_starts_again_at_a_boot_or_goes_on(tmp_path: Path) -> None:
    _written(tmp_path, devices=16, days=10, seed=2, every_seconds=3600, **{**NONE, "reboots": 15.0})
    restarted = 0
    for messages in _by_device(_objects(tmp_path / MESSAGES)).values():
        messages.sort(key=lambda message: message["eventAt"])
        assert len({message["boot"] for message in messages}) > 1
        epochs = [list(run) for _, run in groupby(messages, key=lambda message: message["epoch"])]
        restarted += len(epochs) > 1
        for run in epochs:
            assert [message["seq"] for message in run] == list(range(len(run)))
    assert 0 < restarted < 16


def test_half_of_the_fleet_reconnects_within_seconds_of_a_storm(tmp_path: Path) -> None:
    wanted = {**NONE, "storms": 15.0}
    fleet = _written(
        tmp_path, devices=60, days=2, seed=6, every_seconds=600, start=date(2026, 3, 10), **wanted
    )
    (storm,) = storms(fleet.profile, chance(6, "storms"))
    assert storm.length > 20 * MINUTE, "too short for an event of each device: choose another seed"
    silent = 0
    for messages in _by_device(_objects(tmp_path / MESSAGES)).values():
        times = [message["_timestamp"] for message in messages]
        if any(storm.start + 3 * SECOND < time < storm.end for time in times):
            continue
        silent += 1
        assert min(time for time in times if time >= storm.end) < storm.end + 25 * SECOND
    assert 20 <= silent <= 40


def test_an_outage_may_last_for_weeks(tmp_path: Path) -> None:
    wanted = {**NONE, "long_outages": 1.0}
    _written(tmp_path, devices=8, days=31, seed=3, every_seconds=14_400, start=date(2026, 3, 1), **wanted)
    waits = [true["received"] - _millis(true["true_time"]) for true in _objects(tmp_path / TRUTH)]
    assert max(waits) > 14 * DAY


def test_every_way_of_being_wrong_is_among_the_clocks(tmp_path: Path) -> None:
    wanted = {**NONE, "wrong_clocks": 1.0, "outages": 4.0}
    fleet = _written(tmp_path, devices=60, days=10, seed=1, every_seconds=14_400, **wanted)
    wrong = {f"clocks: {kind}" for kind in Habit if kind is not Habit.SYNCHRONISED}
    assert {name for name in fleet.contents.counts if name.startswith("clocks: ")} == wrong
    assert any("clockStepped" in message for message in _objects(tmp_path / MESSAGES))


@pytest.mark.parametrize(("name", "counted"), [("sold", "sold devices"), ("replaced", "replaced devices")])
def test_devices_are_sold_and_replaced_by_their_share(tmp_path: Path, name: str, counted: str) -> None:
    fleet = _written(tmp_path, devices=60, days=10, seed=1, every_seconds=14_400, **{**NONE, name: 0.5})
    assert 20 <= fleet.contents.counts[counted] <= 40
