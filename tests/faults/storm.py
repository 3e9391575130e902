"""A storm: a fleet's messages go through the line while its parts are killed, stopped and cut off."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from .books import Books
from .disasters import CLOSE, INGEST, Disaster, Planned, drawn, each_step
from .documents import PERIODS
from .engines import Engines
from .line import PARTITIONS, Line, StormError
from .truth import simulated

_COPIES: Final = 30
"""How many messages are sent again while a month is being closed, for each disaster."""
_EXPECTED: Final = ("canceling statement", "terminating connection", "the database system is")
"""What Postgres calls an error and a storm brings about."""


@dataclass
class Report:
    """What a storm was and what the books said after it.

    `missed`: disasters that did not strike; `steps` and `unreached`: those of a sweep. `recoveries`: seconds
    until all that was sent was decided.
    """

    seed: int
    struck: Counter[str] = field(default_factory=Counter[str])
    missed: Counter[str] = field(default_factory=Counter[str])
    steps: list[str] = field(default_factory=list[str])
    unreached: list[str] = field(default_factory=list[str])
    recoveries: list[float] = field(default_factory=list[float])
    events: int = 0
    copies: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list[str])


class Storm:
    """One fleet on one line. The same seed gives the same fleet and the same disasters."""

    def __init__(self, engines: Engines, seed: int, tell: Callable[[str], None] = lambda _: None) -> None:
        """`tell` hears the name of each disaster before it strikes."""
        self._report = Report(seed)
        self._engines = engines
        self._tell = tell
        name = f"storm_{seed}"
        self._truth = simulated(seed, engines.directory / name / "fleet")
        self._log_from = engines.postgres.process.log.stat().st_size
        self._line = Line(engines, name, self._truth)

    def run(self, ingest: int, close: int) -> Report:
        """So many disasters while messages come in, so many while the months are closed, then the books."""
        chance = random.Random(self._report.seed)
        return self._run(drawn(chance, INGEST, ingest), drawn(chance, CLOSE, close))

    def sweep(self) -> Report:
        """A kill before and after every step of the commit and of the close, then the books."""
        return self._run(each_step("consumer"), each_step("close"))

    def _run(self, ingest: list[Planned], close: list[Planned]) -> Report:
        began, report, line = time.monotonic(), self._report, self._line
        try:
            self._ingest(ingest)
            line.complete_backfill()
            self._close(close)
            line.drain()
            report.wrong += Books(line.session(), self._truth, line.sending).wrong()
            line.stop()
            report.wrong += self._wrong_logs()
        except StormError as error:
            report.wrong.append(str(error))
        finally:
            line.close()
        report.recoveries = line.waits
        report.events, report.copies = len(self._truth.billed), line.sending.copies
        report.seconds = time.monotonic() - began
        return report

    def _ingest(self, kinds: list[Planned]) -> None:
        """A part of the messages for each disaster; some come while the line still recovers from the last."""
        line, messages = self._line, self._truth.messages
        size = -(-len(messages) // (len(kinds) + 1))
        parts = [messages[at : at + size] for at in range(0, len(messages), size)]
        chance = random.Random(f"{self._report.seed}/waits")
        line.one_consumer()
        for number, kind in enumerate(kinds):
            before = line.sending.records
            part = parts[number] if number < len(parts) else []
            self._strike(kind, f"ingest/{number}", lambda part=part: line.send(part))
            line.await_decided(line.sending.records if chance.random() < 0.6 else before)
            line.one_consumer()
        for part in parts[len(kinds) :]:
            line.send(part)
        line.drain()

    def _close(self, kinds: list[Planned]) -> None:
        """Half of the disasters for each month; copies keep the consumer busy meanwhile."""
        line = self._line
        chance = random.Random(f"{self._report.seed}/copies")
        half = -(-len(kinds) // 2)
        for period, own in zip(PERIODS, (kinds[:half], kinds[half:]), strict=True):
            for number, kind in enumerate(own):
                copies = chance.sample(self._truth.messages, _COPIES)
                line.one_consumer()
                line.send(copies, lambda _: chance.randrange(PARTITIONS))
                self._strike(kind, f"{period}/{number}", period)
            line.one_consumer()
            line.expect_closed(period)
        for period in PERIODS:
            line.expect_closed(period, wrote=0)

    def _strike(self, plan: Planned, place: str, subject: Callable[[], None] | str) -> None:
        self._tell(plan.kind)
        struck = Disaster(self._line, plan, f"{self._report.seed}/{place}").strike(subject)
        (self._report.struck if struck else self._report.missed)[plan.kind] += 1
        if plan.strike is not None:
            (self._report.steps if struck else self._report.unreached).append(str(plan.strike))

    def _wrong_logs(self) -> list[str]:
        """No duplicate is an error anywhere, nothing was poison for the ledger, nothing crashed."""
        wrong: list[str] = []
        for path in self._line.logs():
            for line in path.read_text(errors="replace").splitlines():
                if '"level": "error"' in line or "Traceback" in line:
                    wrong.append(f"{path.name}: {line[:300]}")
        with self._engines.postgres.process.log.open("rb") as log:
            log.seek(self._log_from)
            wrong += [f"postgres: {line}" for line in _complaints(log.read().decode(errors="replace"))]
        return wrong


def _complaints(log: str) -> Iterator[str]:
    for line in log.splitlines():
        if "ERROR:" in line and not any(known in line for known in _EXPECTED):
            yield line
