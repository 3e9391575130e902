"""The model: every interleaving of consumers, a closer and faults over the ledger in memory, to the end."""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .memory_ledger import LOCAL, Ledger, Transaction, applied, blocked, execute, locks_of
from .replay import LOST, Answer, Program, Question, next_step

ELSEWHERE: Final = frozenset({"take", "group", "commit_group", "cached", "cache", "claim", "ends"})
"""Questions that go to Kafka or to a cache: no transaction and no connection to Postgres is in them."""


class Faults(NamedTuple):
    """How many of each may happen in one run."""

    crashes: int = 0
    rebalances: int = 0
    failovers: int = 0
    cuts: int = 0

    def less(self, name: str) -> "Faults | None":
        """What is left after one more; None where none is left."""
        left = getattr(self, name) - 1
        return None if left < 0 else self._replace(**{name: left})


class History:
    """What a program has asked and been answered since it stood at a place; one object a history."""

    __slots__ = ("_after", "_answer", "_before", "place", "step")

    def __init__(self, place: Hashable, before: "History | None" = None, answer: Answer = None) -> None:
        self.place = place
        self.step: tuple[str, Any] | None = None
        self._before = before
        self._answer = answer
        self._after: dict[Answer, History] = {}

    def after(self, answer: Answer) -> "History":
        """The history with one more answer."""
        found = self._after.get(answer)
        if found is None:
            found = self._after[answer] = History(self.place, self, answer)
        return found

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answers, first to last."""
        found: list[Answer] = []
        node = self
        while node._before is not None:
            found.append(node._answer)
            node = node._before
        return tuple(reversed(found))


class Actor(NamedTuple):
    """A process: what it went through, and its session with Postgres.

    `broken`: its connection died and it has not noticed. `told`: it knows who owns the partitions.
    """

    history: History
    transaction: Transaction | None = None
    broken: bool = False
    told: bool = True

    @property
    def question(self) -> Question:
        """What it asks next."""
        return () if self.history.step is None else self.history.step[1]


class Kept:
    """A value that is there once, so that it is compared by what it is and not by what it holds."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class World(NamedTuple):
    """Everything at one moment. `before`: the ledger as a standby has it that lacks the last commit.

    `kept`: the ledger; `actors`: each an Actor.
    """

    kept: Kept
    before: Kept | None
    group: int
    cache: frozenset[int]
    owner: int
    actors: tuple[Actor, ...]
    faults: Faults

    @property
    def ledger(self) -> Ledger:
        """What is committed."""
        return self.kept.value


@dataclass(frozen=True)
class Scenario:
    """What is explored: the actors' programs, the topic's ends, who owns partitions, and what must hold.

    `always` is asked about each committed ledger, `finally_` about each that stays; both give sentences.
    `owns`: whether the actor reads the partition while the group has that owner.
    """

    programs: tuple[Program, ...]
    ends: tuple[int, ...]
    start: Ledger
    faults: Faults
    always: Callable[[Ledger], list[str]]
    finally_: Callable[[Ledger], list[str]]
    owns: Callable[[int, int, int], bool] = lambda actor, partition, owner: actor == owner
    batch: int = 2
    replays: bool = False
    """Whether an idle consumer sees that an offset was set back."""
    closes: bool = False
    """Whether an actor seals periods; where none does, nobody changes a period's row."""
    required: tuple[int, ...] = ()
    """How far each partition must be decided before the close, as Kafka tells."""


@dataclass
class Exploration:
    """What an exploration has seen: how many states and ends, and each broken law with its shortest run."""

    states: int = 0
    transitions: int = 0
    ends: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def kinds(self) -> set[str]:
        """The first words of the broken laws."""
        return {law.split(":")[0] for law in self.broken}


class Model:
    """Explores a scenario."""

    def __init__(self, scenario: Scenario, *, stop_at_first: bool = False) -> None:
        self._scenario = scenario
        self._stop_at_first = stop_at_first
        self._kept: dict[Ledger, Kept] = {}
        self._places: dict[tuple[int, Hashable], History] = {}
        self._fresh = tuple(
            self._settled(i, Actor(self._at(i, None)), scenario.start) for i in range(len(scenario.programs))
        )

    def explore(self) -> Exploration:
        """Breadth first, so that the run that is kept for a broken law is a shortest one."""
        scenario, found = self._scenario, Exploration()
        first = World(self._keep(scenario.start), None, 0, frozenset(), 0, self._fresh, scenario.faults)
        parents: dict[World, tuple[World, str] | None] = {first: None}
        checked: dict[Kept, list[str]] = {}
        queue = deque([first])
        while queue:
            world = queue.popleft()
            found.states += 1
            if world.kept not in checked:
                checked[world.kept] = scenario.always(world.ledger)
            laws = list(checked[world.kept])
            lively = False
            for label, following, fault in self._transitions(world):
                found.transitions += 1
                if not fault and following != world:
                    lively = True
                if following not in parents:
                    parents[following] = (world, label)
                    queue.append(following)
            if not lively:
                found.ends += 1
                waiting = [a for a in world.actors if a.transaction is not None]
                laws += (
                    ["stuck: sessions wait for each other"] if waiting else scenario.finally_(world.ledger)
                )
            for law in laws:
                if law not in found.broken:
                    found.broken[law] = _run(parents, world)
            if found.broken and self._stop_at_first:
                return found
        return found

    def _transitions(self, world: World) -> Iterator[tuple[str, World, bool]]:
        for i, actor in enumerate(world.actors):
            others = [a.transaction for j, a in enumerate(world.actors) if j != i and a.transaction]
            yield from self._moves(world, i, actor, others)
            left = world.faults.less("crashes")
            if left is not None and actor != self._fresh[i]:
                yield (
                    f"{i} dies before {actor.question[0]}",
                    _with(world, i, self._fresh[i], faults=left),
                    True,
                )
            if not actor.told and actor != self._fresh[i] and actor.question[0] != "take":
                dropped = self._fresh[i]._replace(broken=actor.broken)
                yield f"{i} drops its batch for the rebalance", _with(world, i, dropped), True
        yield from self._disasters(world)

    def _moves(
        self, world: World, i: int, actor: Actor, others: list[Transaction]
    ) -> Iterator[tuple[str, World, bool]]:
        name = actor.question[0]
        if name == "rest":
            return
        if name in ELSEWHERE:
            yield from self._elsewhere(world, i, actor)
            return
        if actor.broken:
            lost = self._answered(i, actor._replace(broken=False, transaction=None), LOST, world.ledger)
            yield f"{i} finds its connection broken", _with(world, i, lost), False
            return
        left = world.faults.less("cuts")
        if left is not None:
            cut = self._answered(i, actor._replace(transaction=None), LOST, world.ledger)
            yield f"{i} is cut off before {name}", _with(world, i, cut, faults=left), True
        if name == "commit":
            after = applied(world.ledger, (actor.transaction or Transaction()).writes)
            done = self._answered(i, actor._replace(transaction=None), None, after)
            yield f"{i} commits", _with(world, i, done, kept=self._keep(after), before=world.kept), False
            if left is not None:
                unsure = self._answered(i, actor._replace(transaction=None), LOST, after)
                following = _with(world, i, unsure, kept=self._keep(after), before=world.kept, faults=left)
                yield f"{i} commits, the reply is lost", following, True
            return
        if name == "alone" and blocked({("writers", 0, "X")}, others):
            refused = self._answered(i, actor, False, world.ledger)
            yield f"{i} is not alone", _with(world, i, refused), False
            return
        if not blocked(locks_of(actor.question), others):
            yield f"{i} {name}", self._executed(world, i, actor), False

    def _executed(self, world: World, i: int, actor: Actor) -> World:
        """The world after a statement, which is a transaction of its own where none is open."""
        own = actor.transaction
        outcome = execute(actor.question, world.ledger, own or Transaction())
        if own is not None:
            within = actor._replace(transaction=outcome.transaction)
            return _with(world, i, self._answered(i, within, outcome.answer, world.ledger))
        after = applied(world.ledger, outcome.transaction.writes)
        moved = self._answered(i, actor, outcome.answer, after)
        if not outcome.transaction.writes:
            return _with(world, i, moved)
        return _with(world, i, moved, kept=self._keep(after), before=world.kept)

    def _elsewhere(self, world: World, i: int, actor: Actor) -> Iterator[tuple[str, World, bool]]:
        changes: dict[str, Any] = {}
        match actor.question:
            case ("take", positions):
                answer, actor = self._taken(world, i, actor, positions)
                if answer is None:
                    return
            case ("group",):
                answer = world.group
            case ("commit_group", offset):
                answer, changes = True, {"group": offset}
            case ("cached", numbers):
                answer = tuple(n for n in numbers if n in world.cache)
            case ("cache", numbers):
                answer, changes = True, {"cache": world.cache | set(numbers)}
            case ("claim", numbers):
                answer = tuple(n for n in numbers if n not in world.cache)
                changes = {"cache": world.cache | set(numbers)}
            case _:
                answer = self._scenario.required
        moved = self._answered(i, actor, answer, world.ledger)
        yield f"{i} {actor.question[0]}", _with(world, i, moved, **changes), False

    def _taken(self, world: World, i: int, actor: Actor, positions: tuple[int, ...]) -> tuple[Answer, Actor]:
        """The next records of the partitions that the actor owns, or what it notices while there are none."""
        if not actor.told:
            return ("changed",), actor._replace(told=True)
        found = tuple(
            (partition, at, min(end, at + self._scenario.batch))
            for partition, (at, end) in enumerate(zip(positions, self._scenario.ends, strict=True))
            if at < end and self._scenario.owns(i, partition, world.owner)
        )
        if found:
            return ("records", found), actor
        if actor.broken:
            return LOST, actor._replace(broken=False)
        stands = tuple(stored.next_offset for stored in world.ledger.offsets)
        moved = any(stored < at for stored, at in zip(stands, positions, strict=True))
        return (("changed",) if moved and self._scenario.replays else None), actor

    def _disasters(self, world: World) -> Iterator[tuple[str, World, bool]]:
        left = world.faults.less("rebalances")
        if left is not None:
            unaware = tuple(actor._replace(told=False) for actor in world.actors)
            owner = (world.owner + 1) % len(world.actors)
            yield "the group rebalances", world._replace(owner=owner, actors=unaware, faults=left), True
        left = world.faults.less("failovers")
        if left is not None and world.before is not None:
            cut = tuple(actor._replace(broken=True, transaction=None) for actor in world.actors)
            yield (
                "Postgres fails over and forgets the last commit",
                world._replace(kept=world.before, before=None, actors=cut, faults=left),
                True,
            )

    def _keep(self, ledger: Ledger) -> Kept:
        kept = self._kept.get(ledger)
        if kept is None:
            kept = self._kept[ledger] = Kept(ledger)
        return kept

    def _at(self, i: int, place: Hashable) -> History:
        """The beginning of the actor's next round."""
        history = self._places.get((i, place))
        if history is None:
            history = self._places[i, place] = History(place)
        return history

    def _answered(self, i: int, actor: Actor, answer: Answer, ledger: Ledger) -> Actor:
        return self._settled(i, actor._replace(history=actor.history.after(answer)), ledger)

    def _settled(self, i: int, actor: Actor, ledger: Ledger) -> Actor:
        """The actor run on to its next question that anybody else could notice."""
        history, transaction = actor.history, actor.transaction
        while True:
            kind, what = self._next(i, history)
            if kind == "done":
                history = self._at(i, what)
            elif what[0] == "begin":
                history, transaction = history.after(None), Transaction(session=i)
            elif what[0] == "rollback":
                history, transaction = history.after(None), None
            elif transaction is not None and not actor.broken and self._unnoticed(what, transaction):
                outcome = execute(what, ledger, transaction)
                history, transaction = history.after(outcome.answer), outcome.transaction
            else:
                return Actor(history, transaction, actor.broken, actor.told)

    def _unnoticed(self, question: Question, transaction: Transaction) -> bool:
        """Whether no other actor can change the answer or be changed by it: to die before such a statement is
        to die before the one that comes next."""
        name, locks = question[0], transaction.locks
        if name in ("find", "hold", "phases"):
            return not self._scenario.closes
        if name in ("standing", "last_keys", "merge", "copy", "known"):
            return ("writers", 0, "X") in locks
        if name == "advance":
            return ("offset", question[1], "X") in locks
        return name in LOCAL

    def _next(self, i: int, history: History) -> tuple[str, Any]:
        if history.step is None:
            history.step = next_step(self._scenario.programs[i], history.place, history.answers)
        return history.step


def _with(world: World, i: int, actor: Actor, **changes: Any) -> World:
    actors = (*world.actors[:i], actor, *world.actors[i + 1 :])
    return world._replace(actors=actors, **changes)


def _run(parents: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    steps: list[str] = []
    step = parents[world]
    while step is not None:
        world, label = step
        steps.append(label)
        step = parents[world]
    return steps[::-1]


def losses(rows: tuple[int, ...], expected: int) -> list[str]:
    """L for a record that is missing, D for one that is there twice."""
    counted = Counter(rows)
    lost = [f"lost: record {n}" for n in range(expected) if not counted[n]]
    return lost + [f"doubled: record {n}" for n, times in counted.items() if times > 1]
