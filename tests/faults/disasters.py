"""Disasters: what happens to the line's parts, each by a name, at moments that a seed draws."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from .launcher import STEPS, Launched, Strike
from .line import PATIENCE, Line

INGEST: Final[dict[str, int]] = {
    "consumer killed": 16,
    "consumer killed at a step": 22,
    "consumer stopped": 6,
    "consumer stopped at a step": 8,
    "postgres cut off": 12,
    "reply to a commit lost": 12,
    "postgres stalled": 6,
    "postgres killed": 6,
    "kafka cut off": 6,
    "kafka stopped": 4,
    "kafka killed": 2,
}
CLOSE: Final[dict[str, int]] = {
    "close killed": 6,
    "close killed at a step": 20,
    "close stopped at a step": 6,
    "two closes": 4,
    "close cut off": 6,
    "reply to the seal lost": 8,
    "postgres killed under the close": 3,
}
"""What happens, and how often in relation to the others."""

_STEP_PATIENCE: Final = 6.0
"""Seconds after which a step that was not reached is not waited for any longer."""


@dataclass(frozen=True)
class Planned:
    """A disaster to come: a name of INGEST or CLOSE, and the step where it strikes; None: any."""

    kind: str
    strike: Strike | None = None


def drawn(chance: random.Random, weights: dict[str, int], number: int) -> list[Planned]:
    """So many of them."""
    return [Planned(kind) for kind in chance.choices(list(weights), list(weights.values()), k=number)]


def each_step(stage: Literal["consumer", "close"]) -> list[Planned]:
    """A kill before and after each step of the stage."""
    times: tuple[Literal["before", "after"], ...] = ("before", "after")
    strikes = [Strike(step, when, 1, "kill") for step in STEPS[stage] for when in times]
    return [Planned(f"{stage} killed at a step", strike) for strike in strikes]


class Disaster:
    """One of them; its own seed makes its choices, whatever happened before it."""

    def __init__(self, line: Line, plan: Planned, seed: str) -> None:
        """Nothing happens before `strike`."""
        self._line = line
        self._plan = plan
        self._chance = random.Random(seed)

    def strike(self, subject: Callable[[], None] | str) -> bool:
        """Bring it about, on what `subject` sends or on the close of the period of that name; whether it
        struck: a step may not have been reached, a close have ended before."""
        happen: Callable[[Callable[[], None] | str], bool] = getattr(
            self, "_" + self._plan.kind.replace(" ", "_")
        )
        return happen(subject)

    def _pause(self, most: float) -> None:
        self._line.pause(self._chance.uniform(0, most))

    def _at_a_step(self, stage: str, how: Literal["kill", "stop"]) -> Strike:
        if self._plan.strike is not None:
            return self._plan.strike
        step, when = self._chance.choice(STEPS[stage]), self._chance.choice(("before", "after"))
        return Strike(step, when, self._chance.choice((1, 1, 1, 2)), how)

    def _consumer_killed(self, send: Callable[[], None]) -> bool:
        worker = self._line.one_consumer()
        send()
        self._pause(0.8)
        worker.end()
        return True

    def _consumer_killed_at_a_step(self, send: Callable[[], None]) -> bool:
        self._line.one_consumer().end()
        worker = self._line.consumer(self._at_a_step("consumer", "kill"))
        send()
        struck = self._line.await_true(lambda: not worker.running, _STEP_PATIENCE)
        worker.end()
        return struck

    def _consumer_stopped(self, send: Callable[[], None]) -> bool:
        worker = self._line.one_consumer()
        send()
        self._pause(0.8)
        worker.signal(signal.SIGSTOP)
        self._beside_a_zombie(worker)
        return True

    def _consumer_stopped_at_a_step(self, send: Callable[[], None]) -> bool:
        self._line.one_consumer().end()
        worker = self._line.consumer(self._at_a_step("consumer", "stop"))
        send()
        struck = self._line.await_true(lambda: worker.stopped, _STEP_PATIENCE)
        if struck:
            self._beside_a_zombie(worker)
        else:
            worker.end()
        return struck

    def _beside_a_zombie(self, worker: Launched) -> None:
        """Another takes over, or waits for the zombie's locks; the zombie wakes up and goes on."""
        self._line.consumer()
        self._pause(1.5)
        worker.signal(signal.SIGCONT)
        self._pause(0.5)

    def _postgres_cut_off(self, send: Callable[[], None]) -> bool:
        send()
        self._pause(0.8)
        self._line.engines.way_to_postgres.cut()
        return True

    def _reply_to_a_commit_lost(self, send: Callable[[], None]) -> bool:
        self._line.one_consumer()
        return self._swallowed(send)

    def _swallowed(self, act: Callable[[], None]) -> bool:
        way = self._line.engines.way_to_postgres
        before = way.swallowed
        way.swallow()
        act()
        struck = self._line.await_true(lambda: way.swallowed > before, _STEP_PATIENCE)
        way.forget()
        return struck

    def _postgres_stalled(self, send: Callable[[], None]) -> bool:
        way = self._line.engines.way_to_postgres
        send()
        self._pause(0.5)
        way.stall()
        self._pause(2.0)
        if self._chance.random() < 0.5:
            way.cut()
        way.go_on()
        return True

    def _postgres_killed(self, send: Callable[[], None]) -> bool:
        send()
        self._pause(0.8)
        self._line.engines.postgres.process.kill()
        self._pause(0.5)
        self._line.engines.restart_postgres()
        return True

    def _kafka_cut_off(self, send: Callable[[], None]) -> bool:
        send()
        self._pause(0.5)
        self._line.engines.way_to_kafka.cut()
        return True

    def _kafka_stopped(self, send: Callable[[], None]) -> bool:
        send()
        self._pause(0.3)
        self._line.engines.kafka.process.pause()
        self._pause(2.0)
        self._line.engines.kafka.process.resume()
        return True

    def _kafka_killed(self, send: Callable[[], None]) -> bool:
        send()
        self._pause(0.5)
        kafka = self._line.engines.kafka
        kafka.process.kill()
        kafka.start()
        kafka.await_ready()
        return True

    def _close_killed(self, period: str) -> bool:
        worker = self._line.closer(period)
        self._pause(0.5)
        struck = worker.running
        worker.end()
        return struck

    def _close_killed_at_a_step(self, period: str) -> bool:
        worker = self._line.closer(period, self._at_a_step("close", "kill"))
        return worker.wait(PATIENCE) == -signal.SIGKILL

    def _close_stopped_at_a_step(self, period: str) -> bool:
        worker = self._line.closer(period, self._at_a_step("close", "stop"))
        self._line.await_true(lambda: worker.stopped or not worker.running, PATIENCE)
        struck = worker.stopped
        other = self._line.closer(period)
        self._pause(0.8)
        worker.signal(signal.SIGCONT)
        for each in (worker, other):
            each.wait(PATIENCE)
        return struck

    def _two_closes(self, period: str) -> bool:
        for worker in [self._line.closer(period), self._line.closer(period)]:
            worker.wait(PATIENCE)
        return True

    def _close_cut_off(self, period: str) -> bool:
        worker = self._line.closer(period)
        self._pause(0.5)
        struck = worker.running
        self._line.engines.way_to_postgres.cut()
        worker.wait(PATIENCE)
        return struck

    def _reply_to_the_seal_lost(self, period: str) -> bool:
        started: list[Launched] = []
        struck = self._swallowed(lambda: started.append(self._line.closer(period)))
        started[0].wait(PATIENCE)
        return struck

    def _postgres_killed_under_the_close(self, period: str) -> bool:
        worker = self._line.closer(period)
        self._pause(0.5)
        struck = worker.running
        self._line.engines.postgres.process.kill()
        self._line.engines.restart_postgres()
        worker.wait(PATIENCE)
        return struck
