"""Long steps made visible: what runs, what it waits for, for how long, and where its log is."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fleetmeter_cluster.command import Command, Commands
from fleetmeter_cluster.failure import Failure

T = TypeVar("T")

REMINDER_SECONDS = 20.0
"""How often a running step says that it still runs, where the output is no terminal."""


class Step:
    """One step: its work gets this object to say what it waits for and to run commands."""

    def __init__(self, name: str, log: Path | None, commands: Commands, ended: threading.Event) -> None:
        self.name = name
        self.log = log
        self._waiting: str | Callable[[], str] = ""
        self.started = time.monotonic()
        self.seconds: float | None = None
        self.failed = False
        self.reminded = self.started
        self._commands = commands
        self._ended = ended

    def say(self, waiting: str | Callable[[], str]) -> None:
        """States what the step waits for now; a callable is asked each time it is shown."""
        self._waiting = waiting

    @property
    def waiting(self) -> str:
        """What the step waits for now."""
        return self._waiting if isinstance(self._waiting, str) else self._waiting()

    def check(self) -> None:
        """Raises Failure once another step has failed or the run was interrupted."""
        if self._ended.is_set():
            raise Failure(f"{self.name} was given up: the run has ended")

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the end, or to now."""
        return time.monotonic() - self.started if self.seconds is None else self.seconds

    def command(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        standard_input: str | None = None,
    ) -> str:
        """Runs a command to its end with its output in the step's log, and returns its standard output.

        It is ended together with the tool. Raises Failure with the end of its output when it exits non-zero.
        """
        command = Command(arguments, environment or {}, folder, text=standard_input)
        return self._commands.run(command, self.log)


class Steps:
    """A titled group of steps, one after another (`run`) or side by side (`start`, then `result()`)."""

    def __init__(self, title: str, *, console: Console | None = None) -> None:
        self.title = title
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._commands = Commands()
        self._steps: list[Step] = []
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="step")
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._live: Live | None = None
        self._ended = threading.Event()
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self.console, refresh_per_second=8, transient=True
            )
            self._live.start()
        else:
            self.console.print(self.title)
            threading.Thread(target=self._remind, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ended.set()
            self._commands.end()
        self._pool.shutdown(wait=True, cancel_futures=error is not None)
        self._closed.set()
        if self._live is not None:
            self._live.stop()
        if error is None:
            self.console.print(f"{self.title}: done in {time.monotonic() - self._started:.1f} s")

    def run(self, name: str, work: Callable[[Step], T], *, log: Path | None = None) -> T:
        """Runs one step and returns what its work returns."""
        return self.start(name, work, log=log).result()

    def start(self, name: str, work: Callable[[Step], T], *, log: Path | None = None) -> Future[T]:
        """Starts a step beside the others; its `result()` waits for it and raises what it raised."""
        return self._pool.submit(self._perform, name, work, log)

    def together(self, steps: Mapping[str, Callable[[Step], object]], *, log: Path | None = None) -> None:
        """Runs several steps side by side and waits for all; raises what the first failed one raised."""
        for future in [self.start(name, work, log=log) for name, work in steps.items()]:
            future.result()

    def _perform(self, name: str, work: Callable[[Step], T], log: Path | None) -> T:
        step = Step(name, log, self._commands, self._ended)
        with self._lock:
            self._steps.append(step)
        if self._live is None:
            self.console.print(f"  {name} …" + (f" (log: {log})" if log else ""))
        try:
            return work(step)
        except BaseException:
            step.failed = True
            raise
        finally:
            step.seconds = step.elapsed
            with self._lock:
                self._steps.remove(step)
            self.console.print(self._closing(step))

    def _closing(self, step: Step) -> Text:
        mark, style = ("✗", "red") if step.failed else ("✓", "green")
        line = Text("  ").append(mark, style).append(f" {step.name} {step.elapsed:.1f} s")
        return line.append(f" (log: {step.log})", "dim") if step.failed and step.log else line

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            running = list(self._steps)
        table.add_row("", Text(self.title, "bold"), f"{time.monotonic() - self._started:.0f} s", "")
        for step in running:
            log = Text(str(step.log) if step.log else "", "dim", no_wrap=True, overflow="ellipsis")
            wait = Text(step.waiting, no_wrap=True, overflow="ellipsis")
            table.add_row(Spinner("dots"), Text(step.name), f"{step.elapsed:.0f} s", wait.append("  ") + log)
        return table

    def _remind(self) -> None:
        while not self._closed.wait(1):
            now = time.monotonic()
            with self._lock:
                due = [step for step in self._steps if now - step.reminded >= REMINDER_SECONDS]
            for step in due:
                step.reminded = now
                about = f": waits for {step.waiting}" if step.waiting else ""
                self.console.print(f"  … {step.name} {step.elapsed:.0f} s{about}")


def await_true(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    seconds: float = 60,
    *,
    pause: float = 0.25,
    step: Step | None = None,
    log: Path | None = None,
) -> T:
    """Polls until the condition holds, and returns what it gave then; `pause` is the longest, in seconds.

    Raises Failure that names `what` after so many seconds; a callable is asked what is awaited then.
    """
    if step is not None:
        step.say(what)
    deadline = time.monotonic() + seconds
    next_pause = min(0.02, pause)
    while not (found := condition()):
        if step is not None:
            step.check()
        if time.monotonic() > deadline:
            awaited = what if isinstance(what, str) else what()
            raise Failure(f"waited {seconds:.0f} s in vain for {awaited}", log=log)
        time.sleep(next_pause)
        next_pause = min(next_pause * 1.5, pause)
    return found
