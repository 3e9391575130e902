"""The right month for 1,500 devices and for 100 fixed seeds, by what the devices tell of time."""

import os
import secrets
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetmeter_api.region import DEFAULT_CLASS, DeviceClass, TimeFallback
from fleetmeter_cli.fleet.comparison import Outcome, compare, setting_of
from fleetmeter_cli.fleet.fleet import Fleet
from fleetmeter_cli.fleet.profile import Profile

SEEDS = 100


@dataclass(frozen=True)
class Way:
    """What devices tell, and what their class falls back to."""

    name: str
    sent_at: float
    uptime: float
    fallback: TimeFallback = "Quarantine"


BOTH = Way("uptime and sent-at", 1, 1)
SENT_AT = Way("sent-at only", 1, 0)
NEITHER = Way("event time only", 0, 0)
HYBRID = Way("event time only, hybrid 300 s", 0, 0, "Hybrid")


def _outcome(folder: Path, way: Way, *, devices: int, seed: int, every: int) -> Outcome:
    profile = Profile(
        devices, 14, seed, every_seconds=every, share_sent_at=way.sent_at, share_uptime=way.uptime
    )
    for _ in Fleet(profile).write(folder):
        pass
    return compare(folder, setting_of(folder, DeviceClass(name=DEFAULT_CLASS, time_fallback=way.fallback)))


def _check_both(outcome: Outcome) -> None:
    _check_conserved(outcome)
    assert outcome.right == outcome.delivered


def _check_sent_at(outcome: Outcome) -> None:
    _check_conserved(outcome)
    assert outcome.wrong == 0
    assert outcome.share(outcome.set_aside.total()) <= 0.01


def _check_conserved(outcome: Outcome) -> None:
    assert outcome.delivered > 0
    assert outcome.doubled == outcome.unseen == outcome.strays == outcome.misowned == 0
    judged = outcome.right + outcome.flagged + outcome.wrong + outcome.set_aside.total()
    assert judged == outcome.delivered


def _row(way: Way, outcome: Outcome) -> str:
    numbers = (outcome.right, outcome.set_aside.total(), outcome.flagged, outcome.wrong)
    shares = "".join(f"{100 * outcome.share(number):>12.3f}" for number in numbers)
    return f"{way.name:<30}{outcome.delivered:>10,}{shares}"


def test_1500_devices_over_the_end_of_a_month(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("FLEETMETER_FLEET_SEED") or secrets.randbelow(1 << 31))
    outcomes = {
        way: _outcome(tmp_path, way, devices=1500, seed=seed, every=21_600)
        for way in (BOTH, SENT_AT, NEITHER, HYBRID)
    }
    # A worker of pytest-xdist has no standard output.
    with capsys.disabled(), redirect_stdout(sys.stderr):
        print(f"\n1,500 devices, 14 days, FLEETMETER_FLEET_SEED={seed}; shares of delivered events in %")
        columns = ("right month", "set aside", "flagged", "wrong")
        print(f"{'devices tell':<30}{'events':>10}" + "".join(f"{column:>12}" for column in columns))
        for way, outcome in outcomes.items():
            print(_row(way, outcome))
    _check_both(outcomes[BOTH])
    _check_sent_at(outcomes[SENT_AT])
    hybrid = outcomes[HYBRID]
    assert hybrid.flagged + hybrid.wrong > 0, (
        "the fleet has no outage over the month's end: the test shows nothing"
    )


def test_100_seeds(tmp_path: Path) -> None:
    total = Outcome()
    for seed in range(SEEDS):
        _check_both(_outcome(tmp_path, BOTH, devices=6, seed=seed, every=14_400))
        sent_at = _outcome(tmp_path, SENT_AT, devices=6, seed=seed, every=14_400)
        assert sent_at.wrong == 0, f"seed {seed}"
        total.add(sent_at)
    _check_sent_at(total)
