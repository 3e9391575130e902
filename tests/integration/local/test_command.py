"""`python -m fleetmeter_local`: what it starts ends with it, however it ends."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmeter_cluster.progress import await_true
from fleetmeter_local import running
from fleetmeter_local.running import Note

COMMAND = [sys.executable, "-m", "fleetmeter_local"]
STARTED_BY_A_LINE = 6


def children(pid: int) -> set[int]:
    """The processes that a process has started itself."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def alive(pids: set[int]) -> set[int]:
    """Those of the processes that still run."""
    return {pid for pid in pids if running.start_time(pid) is not None}


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[subprocess.Popen[str], Note]]:
    """`up`, once it stays; its note lies in a cache of its own."""
    shared = running.folder().parent
    (tmp_path / "kafka").symlink_to(shared / "kafka")
    monkeypatch.setenv("FLEETMETER_CACHE", str(tmp_path))
    process = subprocess.Popen(
        [*COMMAND, "up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    notes: list[Note] = []
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C ends it all"):
            break
    try:
        assert process.poll() is None, said
        notes = running.all_notes()
        assert [note.pid for note in notes] == [process.pid]
        yield process, notes[0]
    finally:
        process.kill()
        process.wait()
        for note in notes:
            shutil.rmtree(note.directory, ignore_errors=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_leaves_nothing(
    up: tuple[subprocess.Popen[str], Note], number: signal.Signals
) -> None:
    process, note = up
    started = children(process.pid)
    assert len(started) == STARTED_BY_A_LINE
    process.send_signal(number)
    assert process.wait(60) == 130
    assert not alive(started)
    assert not Path(note.directory).exists()
    assert running.all_notes() == []


def test_killed_it_takes_its_processes_along(up: tuple[subprocess.Popen[str], Note]) -> None:
    process, _ = up
    started = children(process.pid)
    process.kill()
    process.wait()
    await_true(lambda: not alive(started), "the processes to end with their parent", 120)
    assert running.all_notes() == []


def test_status_tells_and_down_ends(up: tuple[subprocess.Popen[str], Note]) -> None:
    process, note = up
    told = subprocess.run([*COMMAND, "status"], capture_output=True, text=True, check=True).stdout
    assert note.api in told
    assert note.directory in told
    ended = subprocess.run([*COMMAND, "down"], capture_output=True, text=True, check=True).stdout
    assert "is gone" in ended
    assert process.wait(10) == 130
    assert "No line runs here" in subprocess.run([*COMMAND, "status"], capture_output=True, text=True).stdout


def test_a_part_that_ends_by_itself_is_told(up: tuple[subprocess.Popen[str], Note]) -> None:
    process, _ = up
    started = children(process.pid)
    gateway = next(pid for pid in started if b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(gateway, signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "gateway ended by itself" in said
    assert not alive(started)
