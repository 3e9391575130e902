"""Arrival order: the messages of all devices by receive time, with the memory of a batch of devices."""

from collections.abc import Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from fleetmeter_cli.fleet.device import Arrival, Device
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.fleet.truth import Truth

BATCH: Final = 2000
"""How many devices are simulated at a time; the rest waits, or is sorted on disk already."""
_KEY: Final = 26


def in_order(devices: Iterator[Device], profile: Profile, truth: Truth, folder: Path) -> Iterator[str]:
    """The messages of the fleet in arrival order. A large fleet needs a sorted run in `folder` for each
    batch of devices, as large as its messages, until the last message is taken."""
    first = list(islice(devices, BATCH))
    second = next(devices, None)
    if second is None:
        yield from (text for _, _, text in _batch(first, profile, truth))
        return
    with TemporaryDirectory(prefix=".runs-", dir=folder) as runs, ExitStack() as files:
        paths: list[Path] = []
        rest = chain([second], devices)
        batch = first
        while batch:
            path = Path(runs) / str(len(paths))
            _write_run(path, _batch(batch, profile, truth))
            paths.append(path)
            batch = list(islice(rest, BATCH))
        opened = [files.enter_context(open_text(path, "r")) for path in paths]
        for line in merge(*opened):
            yield line[_KEY:-1]


def open_text(path: Path, mode: str) -> IO[str]:
    """A file of messages: UTF-8, the lines as they are; bytes that are no text are kept."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="\n")


def _batch(devices: list[Device], profile: Profile, truth: Truth) -> Iterator[Arrival]:
    return merge(*(device.arrivals(profile, truth) for device in devices))


def _write_run(path: Path, arrivals: Iterator[Arrival]) -> None:
    with open_text(path, "w") as out:
        for received, number, text in arrivals:
            out.write(f"{received:016d}{number:010d}{text}\n")
