"""Commands that end with the tool: their output goes to a log, their failure to a person."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fleetmeter_cluster.failure import Failure

TAIL_LINES = 15
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where programs are looked for: root's own folders are not in every root's PATH."""


@dataclass(frozen=True)
class Command:
    """One command: its words, what is added to the environment, where it runs, what it is fed with."""

    words: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    folder: Path | None = None
    text: str | None = None
    source: IO[bytes] | None = None

    @property
    def name(self) -> str:
        """The program's file name, for messages."""
        return Path(self.words[0]).name

    def start(self, output: IO[str] | None) -> "subprocess.Popen[str]":
        """Starts it, its output into a file or to be read. Raises Failure where that can't be done."""
        # A killed tool takes the command along: the kernel then sends it a signal.
        setpriv = shutil.which("setpriv", path=SEARCH_PATH)
        bound = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        fed = subprocess.DEVNULL if self.text is None else subprocess.PIPE
        try:
            return subprocess.Popen(  # noqa: S603
                [*bound, *map(str, self.words)],
                stdin=self.source or fed,
                stdout=output or subprocess.PIPE,
                stderr=output or subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, "PATH": SEARCH_PATH, **self.environment},
                cwd=self.folder,
                start_new_session=True,
            )
        except OSError as error:
            raise Failure(f"{self.name} could not be started: {error.strerror}") from error


class Commands:
    """Every command that runs now, so that an interrupt can end them all."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: Command, log: Path | None = None) -> str:
        """Runs a command to its end; returns what it printed on standard output.

        With a log, both its outputs go there as they come, and both are returned.
        Raises Failure with the end of its output when it can't be started or exits non-zero.
        """
        if log is None:
            return self._finish(command, None)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a+") as file:
            file.write(f"$ {' '.join(map(str, command.words))}\n")
            file.flush()
            begin = file.tell()
            try:
                self._finish(command, file)
            except Failure as failure:
                raise Failure(
                    f"{failure.message}\n{_tail(_read(file, begin))}".rstrip(), log=log
                ) from failure
            return _read(file, begin)

    def end(self) -> None:
        """Ends every running command with its children; later ones are refused."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)

    def _finish(self, command: Command, output: IO[str] | None) -> str:
        with self._lock:
            if self._ended:
                raise Failure(f"{command.name} was not started: the run was interrupted")
            process = command.start(output)
            self._running.add(process)
        try:
            printed, errors = process.communicate(command.text)
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode:
            end = _tail((printed or "") + (errors or ""))
            raise Failure(f"{command.name} exited with {process.returncode}: {end}".rstrip(": "))
        return printed or ""


def run(words: Sequence[str | Path], *, text: str | None = None, source: IO[bytes] | None = None) -> str:
    """Runs one short command outside of any step, fed with a text or an open file; returns what it printed.

    Raises Failure when it exits non-zero.
    """
    return Commands().run(Command(words, text=text, source=source))


def succeeds(words: Sequence[str | Path]) -> bool:
    """Whether a short command exits with 0; what it prints is dropped."""
    try:
        run(words)
    except Failure:
        return False
    return True


def _read(file: IO[str], begin: int) -> str:
    file.seek(begin)
    return file.read()


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
