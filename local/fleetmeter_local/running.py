"""Which lines run on this machine: a note for each, left by the process that keeps it running."""

import json
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fleetmeter_cluster import cache


@dataclass(frozen=True)
class Note:
    """A running line: the process that keeps it, and where its parts are."""

    pid: int
    started: str
    """The start time of the process, as the kernel counts it: a process id alone may be somebody else's."""
    directory: str
    api: str
    gateway: str
    mqtt: str


def folder() -> Path:
    """Where the notes are."""
    return cache.root() / "local"


@contextmanager
def noted(note: Note) -> Generator[None]:
    """Leave a note while the block runs."""
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / f"{note.pid}.json"
    path.write_text(json.dumps(asdict(note)))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def all_notes() -> list[Note]:
    """The lines that run; notes of ended processes are removed."""
    found: list[Note] = []
    for path in sorted(folder().glob("*.json")):
        note = Note(**json.loads(path.read_text()))
        if start_time(note.pid) == note.started:
            found.append(note)
        else:
            path.unlink(missing_ok=True)
    return found


def end(note: Note, *, seconds: float = 60) -> bool:
    """Ask the process to end its line and wait for that; whether it did."""
    os.kill(note.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while start_time(note.pid) == note.started:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks since boot; None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
