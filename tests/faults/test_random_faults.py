"""A hundred random faults on real engines under load, and books that are right after each storm."""

import os
import secrets
import sys
from contextlib import redirect_stdout

import pytest

from .__main__ import run
from .engines import running_engines
from .launcher import STEPS, resolve
from .storm import Storm

MOST = 0.75
"""A step may not be needed by a batch, or by a month that is final already."""
FAULTS = int(os.environ.get("FLEETMETER_FAULTS") or 100)


@pytest.mark.parametrize("step", sorted({step for steps in STEPS.values() for step in steps}))
def test_every_step_is_there(step: str) -> None:
    """A step that was renamed could never be struck."""
    assert callable(resolve(step)[2])


def test_killed_at_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Before and after each step of the commit and of the close, once each."""
    with running_engines() as engines:
        report = Storm(engines, seed=1).sweep()
    # A worker of pytest-xdist has no standard output.
    with capsys.disabled(), redirect_stdout(sys.stderr):
        print(f"\n{len(report.steps)} steps, {report.seconds:.0f} s; not reached: {report.unreached}")
    assert report.wrong == []
    assert len(report.steps) >= MOST * len(report.steps + report.unreached)


@pytest.mark.timeout(1200)
def test_random_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing lost, nothing doubled, nothing in a wrong month; FLEETMETER_FAULT_SEED repeats a run."""
    seed = int(os.environ.get("FLEETMETER_FAULT_SEED") or secrets.randbelow(1_000_000_000))
    with capsys.disabled(), redirect_stdout(sys.stderr):
        print(f"\nFLEETMETER_FAULT_SEED={seed}")
        reports = run(seed, FAULTS)
    assert {report.seed: report.wrong for report in reports if report.wrong} == {}
    assert sum(report.struck.total() for report in reports) >= FAULTS
