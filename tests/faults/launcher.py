"""Launcher: a worker as a process that may be struck at a named step, without a hook in the product."""

import faulthandler
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

STEPS: Final[dict[str, tuple[str, ...]]] = {
    "consumer": (
        "fleetmeter_workers.consumer.lookup:load",
        "fleetmeter_workers.consumer.lookup:learn_devices",
        "fleetmeter_workers.ledger.offsets:read_offsets",
        "fleetmeter_workers.ledger.offsets:lock_at",
        "fleetmeter_workers.ledger.backfills:lock_backfills",
        "fleetmeter_workers.ledger.periods:ensure",
        "fleetmeter_workers.ledger.periods:hold",
        "fleetmeter_workers.ledger.events:merge",
        "fleetmeter_workers.ledger.events:known",
        "fleetmeter_workers.ledger.event_copy:copy",
        "fleetmeter_workers.ledger.usage:add_hours",
        "fleetmeter_workers.ledger.usage:add_duplicates",
        "fleetmeter_workers.ledger.periods:add_counts",
        "fleetmeter_workers.ledger.quarantine:add",
        "fleetmeter_workers.ledger.offsets:advance",
        "psycopg:Transaction.__exit__",
    ),
    "close": (
        "fleetmeter_workers.close.readiness:look",
        "fleetmeter_workers.ledger.periods:ensure",
        "fleetmeter_workers.ledger.periods:lock_for_seal",
        "fleetmeter_workers.ledger.events:device_sums",
        "fleetmeter_workers.ledger.usage:metric_sums",
        "fleetmeter_workers.ledger.periods:count_of",
        "fleetmeter_workers.ledger.invoices:next_number",
        "fleetmeter_workers.ledger.invoices:add",
        "fleetmeter_workers.ledger.periods:set_phase",
        "psycopg:Transaction.__exit__",
    ),
}
"""What a stage does one after the other; the last is its COMMIT."""

_PRELOADED: Final = [
    "fleetmeter_workers.main",
    "fleetmeter_workers.consumer.main",
    "fleetmeter_workers.close.main",
    "tests.faults.launcher",
]


@dataclass(frozen=True)
class Strike:
    """What happens to the process at a step: it is killed or stopped, before or after it, the n-th time."""

    step: str
    when: Literal["before", "after"]
    number: int
    how: Literal["kill", "stop"]

    def __str__(self) -> str:
        verb = {"kill": "killed", "stop": "stopped"}[self.how]
        return f"{verb} {self.when} {self.step.partition(':')[2]} no. {self.number}"


def resolve(step: str) -> tuple[Any, str, Callable[..., Any]]:
    """Where a step is, its name there, and the function. Raises AttributeError for a step that is no more."""
    module, _, path = step.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name, getattr(owner, name)


class Launched:
    """A running worker: like `Popen`, with what it has logged."""

    def __init__(
        self,
        stage: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        log: Path,
        strike: Strike | None,
    ) -> None:
        """Start it; a fork of a process that has everything imported takes a moment only."""
        self.stage = stage
        self.strike = strike
        self.log = log
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._process = context.Process(
            target=_run, args=(stage, arguments, dict(environment), str(log), strike), daemon=True
        )
        self._process.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    @property
    def status(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        try:
            return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.pid is not None and self.running:
            os.kill(self._process.pid, number)

    def wait(self, seconds: float) -> int | None:
        """The exit code; None when it still runs after so long."""
        self._process.join(seconds)
        return self._process.exitcode

    def end(self) -> None:
        """Kill it if need be, and wait for it."""
        if self.running:
            self._process.kill()
        self._process.join(30)


def _run(
    stage: str, arguments: tuple[str, ...], environment: dict[str, str], log: str, strike: Strike | None
) -> None:
    """The worker's life, in the forked process."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    faulthandler.register(signal.SIGUSR1)
    sys.argv = ["fleetmeter-worker", stage, *arguments]
    if strike is not None:
        _arm(strike)
    import_module("fleetmeter_workers.main").app(args=[stage, *arguments])


def _arm(strike: Strike) -> None:
    owner, name, function = resolve(strike.step)
    calls = 0

    def struck(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == strike.number and strike.when == "before":
            _hit(strike)
        result = function(*given, **named)
        if calls == strike.number and strike.when == "after":
            _hit(strike)
        return result

    setattr(owner, name, struck)


def _hit(strike: Strike) -> None:
    os.kill(os.getpid(), signal.SIGKILL if strike.how == "kill" else signal.SIGSTOP)
