"""The commit order, exhaustively: ours loses and doubles nothing; every design that does is found out."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from fleetmeter_workers.ledger import offsets

from .designs import DESIGNS, MIXES
from .designs import scenario as design
from .flaws import FLAWS, Flaw, anywhere
from .memory_ledger import tables_in_memory
from .model import Exploration, Faults, Model, Scenario
from .scenarios import closing, mixed, replayed, shared

TABLE: dict[str, dict[str, set[str]]] = {
    "A": {
        "crash": {"lost"},
        "rebalance": {"lost", "doubled"},
        "failover": {"lost"},
        "all": {"lost", "doubled"},
    },
    "B": {"crash": {"doubled"}, "rebalance": {"doubled"}, "failover": {"lost"}, "all": {"lost", "doubled"}},
    "C": {"crash": set(), "rebalance": set(), "failover": {"lost"}, "all": {"lost"}},
    "D": {"crash": {"doubled"}, "rebalance": {"doubled"}, "failover": {"lost"}, "all": {"lost", "doubled"}},
    "E": {"crash": {"lost"}, "rebalance": {"lost"}, "failover": {"lost"}, "all": {"lost"}},
    "F": {"crash": set(), "rebalance": {"doubled"}, "failover": {"lost"}, "all": {"lost", "doubled"}},
    "G": {"crash": set(), "rebalance": set(), "failover": {"lost"}, "all": {"lost"}},
}
"""What each commit order does to money under each mix of faults."""

OURS: dict[str, tuple[Scenario, int]] = {
    "crashes and cuts": (mixed(Faults(crashes=3, cuts=2), consumers=3), 50_000),
    "failovers": (mixed(Faults(crashes=2, failovers=2, cuts=1)), 30_000),
    "two partitions": (shared(Faults(crashes=1, rebalances=1, failovers=1, cuts=1)), 50_000),
    "a replay": (replayed(Faults(crashes=1, cuts=1)), 10_000),
    "the close": (closing(Faults(crashes=2, cuts=1), consumers=2), 20_000),
}


@pytest.fixture(autouse=True)
def ledger_in_memory() -> Iterator[None]:
    """The product's steps talk to the model."""
    with tables_in_memory():
        yield


def explored(scenario: Scenario, *, stop_at_first: bool = False) -> Exploration:
    """Every run of the scenario."""
    return Model(scenario, stop_at_first=stop_at_first).explore()


@pytest.mark.parametrize("name", OURS)
def test_ours_loses_and_doubles_nothing(name: str) -> None:
    scenario, least = OURS[name]
    found = explored(scenario, stop_at_first=True)
    print(f"{name}: {found.states:,} states, {found.transitions:,} transitions, {found.ends:,} ends")
    assert found.broken == {}
    assert found.states >= least, "the exploration has become too small to prove anything"


def test_a_moved_offset_is_noticed_twice() -> None:
    """Even if the row were not compared when it is locked, the update compares it again."""
    with patch.object(offsets, "lock_at", anywhere):
        assert explored(mixed(Faults())).broken == {}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", DESIGNS)
def test_other_designs_are_found_out(name: str, mix: str) -> None:
    assert explored(design(name, MIXES[mix])).kinds == TABLE[name[0]][mix]


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.name)
def test_each_flaw_breaks_a_law(flaw: Flaw) -> None:
    with flaw.plant():
        found = explored(flaw.scenario())
    assert flaw.breaks in found.kinds, found.broken
    assert explored(flaw.scenario()).broken == {} or flaw.plant.__name__ == "_as_it_is"
