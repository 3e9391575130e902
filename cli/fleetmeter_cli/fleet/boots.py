"""Boots: when a device started, under which boot id, and the monotonic clock that counts from there."""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum

from fleetmeter_cli.fleet.chance import Chance


class Sequence(StrEnum):
    """What becomes of the device's message counter at a boot."""

    BOOT_COUNT = "boot_count"
    """It starts again at 0, in the epoch that a stored boot counter gives."""
    RANDOM = "random"
    """It starts again at 0, in a new random epoch of 64 bits."""
    STORED = "stored"
    """It goes on, in the one epoch of the device's life."""


@dataclass(frozen=True, slots=True)
class Boots:
    """`starts`: true times of the boots, ascending. `drift`: how fast its oscillator is, in parts per
    billion."""

    starts: tuple[int, ...]
    first: int
    drift: int
    epochs: tuple[str, ...]
    sequence: Sequence

    def index(self, instant: int) -> int:
        """Which boot runs at an instant."""
        return max(bisect_right(self.starts, instant) - 1, 0)

    def uptime(self, boot: int, instant: int) -> int:
        """The milliseconds that the device counted since that boot."""
        run = instant - self.starts[boot]
        return run + run * self.drift // 1_000_000_000

    def boot_id(self, boot: int) -> str:
        """The stored count of boots."""
        return str(self.first + boot)


def boots(starts: list[int], drift: int, source: Chance) -> Boots:
    """Boots at these times, with an epoch each."""
    first = 1 + source.getrandbits(8)
    draw = source.random()
    sequence = Sequence.BOOT_COUNT if draw < 0.5 else Sequence.RANDOM if draw < 0.75 else Sequence.STORED
    ordered = tuple(sorted(starts))
    if sequence is Sequence.RANDOM:
        epochs = tuple(f"{source.getrandbits(64):016x}" for _ in ordered)
    elif sequence is Sequence.STORED:
        epochs = (str(first),) * len(ordered)
    else:
        epochs = tuple(str(first + number) for number in range(len(ordered)))
    return Boots(ordered, first, drift, epochs, sequence)
