"""The right month: what the rules bill of small simulated fleets, against what really happened."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleetmeter_cli.fleet.comparison import Outcome, compare, setting_of
from fleetmeter_cli.fleet.fleet import MESSAGES, TRUTH, Fleet
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.trace import read_lines
from fleetmeter_cli.trial import DUPLICATE, QUARANTINED, Trial

ROUGH = Profile(
    devices=5,
    days=20,
    seed=0,
    every_seconds=14_400,
    wrong_clocks=0.7,
    boundary_outages=0.6,
    outages=4.0,
    storms=5.0,
    reboots=8.0,
    replaced=0.3,
    sold=0.3,
    retransmitted=0.1,
    poison=0.03,
)
GRACE = timedelta(hours=72)
EDGE = 32
"""A seed whose fleet has an event closer to the edge than its clock can tell."""


def _write(folder: Path, **changes: Any) -> None:
    for _ in Fleet(replace(ROUGH, **changes)).write(folder):
        pass


def _unharmed(outcome: Outcome) -> None:
    assert outcome.delivered > 300
    assert outcome.doubled == 0
    assert outcome.unseen == 0
    assert outcome.strays == 0
    assert outcome.misowned == 0


@pytest.mark.parametrize("seed", range(6))
def test_uptime_and_sent_at_bill_everything_in_the_right_month(tmp_path: Path, seed: int) -> None:
    _write(tmp_path, seed=seed)
    outcome = compare(tmp_path, setting_of(tmp_path))
    _unharmed(outcome)
    assert outcome.right == outcome.delivered
    assert outcome.duplicates > 0


@pytest.mark.parametrize("seed", range(2))
def test_uptime_tells_the_month_after_weeks_without_a_link(tmp_path: Path, seed: int) -> None:
    _write(tmp_path, seed=seed, days=30, long_outages=1, boundary_outages=0)
    outcome = compare(tmp_path, setting_of(tmp_path))
    _unharmed(outcome)
    assert outcome.right == outcome.delivered


@pytest.mark.parametrize("seed", range(6))
def test_sent_at_alone_never_bills_in_a_wrong_month_silently(tmp_path: Path, seed: int) -> None:
    _write(tmp_path, seed=seed, share_uptime=0.0, long_outages=0.0)
    outcome = compare(tmp_path, setting_of(tmp_path))
    _unharmed(outcome)
    assert outcome.wrong == 0
    assert outcome.set_aside.keys() <= {"time_ambiguous"}


def test_an_event_at_the_very_edge_is_marked_as_uncertain(tmp_path: Path) -> None:
    march_31 = date(2026, 3, 31)
    _write(
        tmp_path, seed=EDGE, days=2, start=march_31, every_seconds=600, guard_seconds=0, boundary_outages=1
    )
    outcome = compare(tmp_path, setting_of(tmp_path))
    _unharmed(outcome)
    assert outcome.wrong == 0
    assert outcome.flagged > 0, "no event was near enough: choose another seed"
    assert outcome.right + outcome.flagged == outcome.delivered


@pytest.mark.parametrize("seed", range(3))
def test_late_is_what_came_after_the_cut_off_of_its_month(tmp_path: Path, seed: int) -> None:
    _write(tmp_path, seed=seed, late=1)
    truths = [json.loads(line) for line in (tmp_path / TRUTH).read_text().splitlines()]
    cut_off = (datetime.fromisoformat("2026-04-01T00:00:00Z") + GRACE).timestamp() * 1000
    march = {true["event_id"] for true in truths if true["period"] == "2026-03" and true["delivered"]}
    late = {true["event_id"] for true in truths if true["event_id"] in march and true["received"] >= cut_off}
    assert late
    trial = Trial(setting_of(tmp_path))
    aside: set[str | None] = set()
    for line in read_lines(tmp_path / MESSAGES, "_timestamp"):
        decision = trial.take("json", line.raw, line.received)
        if decision.verdict == QUARANTINED and decision.reason == "late_after_final":
            assert decision.period == "2026-03"
            aside.add(decision.event_id)
        elif decision.verdict != DUPLICATE and decision.event_id in march:
            assert decision.event_id not in late or decision.reason == "id_conflict"
    assert aside == late
