"""Pace: a full batch takes about half a second or less, and never fewer than five hundred records."""

import pytest

from fleetmeter_workers.consumer.pace import MOST, Pace


@pytest.mark.parametrize(
    ("rate", "settled"), [(200, 500), (1000, 500), (4000, 2000), (8000, 4000), (9999, 4999), (30_000, MOST)]
)
def test_a_steady_rate_settles(rate: float, settled: int) -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(pace.most, pace.most / rate)
    assert pace.most == settled


def test_it_recovers_when_the_machine_does() -> None:
    pace = Pace()
    pace.note(MOST, 30)
    assert pace.most == 500
    for _ in range(4):
        pace.note(pace.most, 0.01)
    assert pace.most == MOST


def test_a_trickle_tells_nothing() -> None:
    """A batch that took long because little came is not a slow one."""
    pace = Pace()
    pace.note(3, 60)
    assert pace.most == MOST
