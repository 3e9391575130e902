"""Comparison: what the billing rules make of a simulated fleet's messages, against what really happened."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from fleetmeter_api.region import DEFAULT_CLASS, DeviceClass
from fleetmeter_cli.fleet.fleet import MESSAGES, REGISTRY, TRUTH
from fleetmeter_cli.preview_input import read_registry
from fleetmeter_cli.trace import read_lines
from fleetmeter_cli.trial import BILLED, DUPLICATE, UNUSABLE, Decision, Setting, Trial
from fleetmeter_rules.calendar import Calendar
from fleetmeter_rules.contracts import Defaults

DEFAULT: Final = DeviceClass(name=DEFAULT_CLASS)
_GRACE: Final = timedelta(hours=72)
_ID_CONFLICT: Final = "id_conflict"


class TruthLine(msgspec.Struct, frozen=True):
    """What a comparison needs of a line of the truth."""

    event_id: str
    customer: str
    period: str
    delivered: bool
    received: int | None = None


@dataclass(slots=True)
class Outcome:
    """Counts of events that arrived; `duplicates` and `poison` count messages.

    `right`: billed once, in the right month, to the right customer. `flagged`: billed in a wrong month, but
    marked as uncertain. `wrong`: billed in a wrong month without a mark. `misowned`: billed in the right
    month to a wrong customer. `set_aside`: quarantined, by reason. `doubled`: decided a second time as if it
    were new. `unseen`: never decided. `strays`: billed, though nothing of the kind arrived.
    """

    delivered: int = 0
    right: int = 0
    flagged: int = 0
    wrong: int = 0
    misowned: int = 0
    doubled: int = 0
    unseen: int = 0
    strays: int = 0
    duplicates: int = 0
    poison: int = 0
    set_aside: Counter[str] = field(default_factory=Counter[str])

    def share(self, number: int) -> float:
        """A number of events as a share of those that arrived."""
        return number / self.delivered if self.delivered else 0.0

    def add(self, other: "Outcome") -> None:
        """Count another fleet's outcome in."""
        for name in ("delivered", "right", "flagged", "wrong", "misowned", "doubled", "unseen", "strays"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.duplicates += other.duplicates
        self.poison += other.poison
        self.set_aside += other.set_aside


class Comparison:
    """A trial over the messages of a folder, held against the folder's truth."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.outcome = Outcome()
        self._folder = folder
        self._trial = Trial(setting)
        self._seen: set[str] = set()

    def run(self) -> Iterator[int]:
        """Decide and judge every message; yields after each how many there were. Raises OSError."""
        left = _arrived(self._folder / TRUTH)
        self.outcome.delivered = len(left)
        lines = read_lines(self._folder / MESSAGES, "_timestamp")
        for number, line in enumerate(lines, start=1):
            self._take(self._trial.take("json", line.raw, line.received), left)
            yield number
        self.outcome.unseen = len(left)

    def _take(self, decision: Decision, left: dict[str, TruthLine]) -> None:
        outcome, event_id = self.outcome, decision.event_id
        if decision.verdict == DUPLICATE:
            outcome.duplicates += 1
            return
        if decision.verdict == UNUSABLE or decision.reason == _ID_CONFLICT or event_id is None:
            outcome.poison += 1
            return
        true = left.pop(event_id, None)
        if true is not None:
            self._seen.add(event_id)
            _judge(outcome, decision, true)
        elif event_id in self._seen:
            outcome.doubled += 1
        elif decision.verdict == BILLED:
            outcome.strays += 1
        else:
            outcome.poison += 1


def compare(folder: Path, setting: Setting) -> Outcome:
    """The outcome of the whole comparison. Raises OSError."""
    comparison = Comparison(folder, setting)
    for _ in comparison.run():
        pass
    return comparison.outcome


def setting_of(folder: Path, device_class: DeviceClass = DEFAULT) -> Setting:
    """UTC months with 72 hours of grace, the folder's registry, and every device of this class."""
    terms = Defaults(Calendar("UTC", "Month", 1), _GRACE, "Grace")
    return Setting(terms, read_registry(folder / REGISTRY), (device_class,))


def _arrived(path: Path) -> dict[str, TruthLine]:
    decoder = msgspec.json.Decoder(TruthLine)
    with path.open("rb") as lines:
        found = (decoder.decode(line) for line in lines)
        return {true.event_id: true for true in found if true.delivered}


def _judge(outcome: Outcome, decision: Decision, true: TruthLine) -> None:
    if decision.verdict != BILLED:
        outcome.set_aside[decision.reason or ""] += 1
    elif decision.period != true.period:
        if decision.boundary or decision.flags:
            outcome.flagged += 1
        else:
            outcome.wrong += 1
    elif decision.customer != true.customer:
        outcome.misowned += 1
    else:
        outcome.right += 1
