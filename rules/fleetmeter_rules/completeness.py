"""Completeness: what a device's own counter says is missing: "counted 1,000, hold 997, missing 412-414"."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetmeter_rules.ownership import Binding, owner_at


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers from `first` to `last`, both inclusive, of which none is held."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many numbers are missing."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Completeness:
    """What a device counted in one epoch or session between two held numbers, and what of it is held."""

    counted: int
    held: int
    gaps: tuple[Gap, ...]

    @property
    def missing(self) -> int:
        """How many numbers are not held."""
        return self.counted - self.held

    def __str__(self) -> str:
        missing = f", missing {', '.join(map(str, self.gaps))}" if self.gaps else ""
        return f"counted {self.counted:,}, hold {self.held:,}{missing}"


def completeness(sequences: Iterable[int], before: int | None = None) -> Completeness:
    """From the sequence numbers held of one epoch or session, in any order, copies counted once.

    `before`: the last number held of an earlier period of the same epoch, so that a gap over the edge is
    seen. What was lost after the last number held can't be told by it: a silent device is another matter.
    """
    held = sorted(set(sequences))
    if not held:
        return Completeness(0, 0, ())
    expected = held[0] if before is None else before + 1
    counted = max(0, held[-1] - expected + 1)
    gaps: list[Gap] = []
    for number in held:
        if number > expected:
            gaps.append(Gap(expected, number - 1))
        expected = max(expected, number + 1)
    return Completeness(counted, len(held), tuple(gaps))


def bound_in(bindings: Sequence[Binding], customer: str, start: datetime, end: datetime) -> bool:
    """Whether the device belonged to the customer at some instant of start <= t < end.

    Such a device, registered and under contract, of which nothing was received is a silent one.
    """
    edges = [start]
    for binding in bindings:
        edges += [binding.valid_from] if binding.valid_to is None else [binding.valid_from, binding.valid_to]
    return any(owner_at(bindings, edge) == customer for edge in edges if start <= edge < end)
