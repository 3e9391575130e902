"""Tests of the tests: each planted bug makes its test fail; without bugs all of them pass."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .bugs import BUGS, ROOT, Bug, Tree

FAILED = 1
WORKERS = 2


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_can_be_planted(bug: Bug) -> None:
    """The text that it changes is in the product once; where the product changed, the bug has to follow."""
    assert (ROOT / bug.file).read_text().count(bug.text) == 1


def test_every_planted_bug_is_found(tmp_path: Path) -> None:
    """Two copies of the tree, a half of the bugs in each, one at a time."""
    trees = [Tree(tmp_path / str(number)) for number in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(_found, trees, [BUGS[number::WORKERS] for number in range(WORKERS)]))
    outcomes = {name: outcome for each in found for name, outcome in each.items()}
    assert len(outcomes) == len(BUGS) >= 12
    assert {name: text for name, text in outcomes.items() if text} == {}


def test_without_bugs_all_pass(tmp_path: Path) -> None:
    """The copy itself breaks nothing, so a failure above is the bug's."""
    done = Tree(tmp_path / "tree").run(*sorted({bug.test for bug in BUGS}))
    assert done.returncode == 0, done.stdout


def _found(tree: Tree, bugs: tuple[Bug, ...]) -> dict[str, str]:
    """By name what speaks against a bug having been found: nothing where its test failed."""
    outcomes: dict[str, str] = {}
    for bug in bugs:
        tree.plant(bug)
        done = tree.run(bug.test)
        by_assertion = done.returncode == FAILED and " failed" in done.stdout
        outcomes[bug.name] = "" if by_assertion else f"exit {done.returncode}: {done.stdout[-500:]}"
        tree.mend(bug)
    return outcomes
