"""`fleetmeter review list` on terminals: ids stay whole, evidence and decisions are readable."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fleetmeter_cli import review, table
from fleetmeter_cli.main import app

_IDS = [f"00000001-0000-0001-0000-00000001{number:02d}30" for number in range(3)]
_HISTORY = [
    {"decision": "accepted", "movedTo": None, "actor": "ann", "decidedAt": "2023-02-03T10:00:00Z"},
    {"decision": "undone", "movedTo": None, "actor": "bob", "decidedAt": "2023-02-03T10:05:00Z"},
    {"decision": "moved", "movedTo": "eu-202302", "actor": "eve", "decidedAt": "2023-02-03T10:06:00Z"},
]


def _event(number: int, quality: str | None, *flags: str) -> dict[str, Any]:
    return {
        "id": _IDS[number],
        "device": "d1d1e80000000032",
        "eventAt": "2023-01-31T22:55:00Z",
        "uncertaintySeconds": 600,
        "method": "sent_at",
        "evidence": {"quality": quality, "flags": list(flags)},
        "neighbours": [{"billingPeriod": "eu-202302"}],
        "history": [[], _HISTORY[:2], _HISTORY][number],
    }


class _Region:
    """A region with three events in doubt."""

    def get(self, path: str, **query: str | None) -> dict[str, Any]:
        return {"candidates": 3, "undecided": 2}

    def pages(self, path: str, name: str, **query: str | None) -> Iterator[dict[str, Any]]:
        yield _event(0, None)
        yield _event(1, "corrected", "clock_behind")
        yield _event(2, "unverified", "clock_behind", "clock_unset", "of_a_newer_version")


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_ids_evidence_and_decisions(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def region_api(_: object) -> Generator[_Region]:
        yield _Region()

    def console() -> Console:
        return Console(width=width, force_terminal=True, color_system=None, highlight=False)

    monkeypatch.setattr(review, "region_api", region_api)
    monkeypatch.setattr(review, "console", console)
    monkeypatch.setattr(table, "console", console)
    done = CliRunner().invoke(app, ["review", "list", "--billing-period", "eu-202301"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    events, decisions = done.stdout.split("Decision")
    assert [events.count(each) for each in _IDS] == [1, 1, 1]
    assert [decisions.count(each) for each in _IDS] == [0, 2, 3]
    words = set(events.replace(":", " ").replace(";", " ").split())
    assert {"unknown", "corrected", "unverified", "behind", "never", "newer", "eu-202302"} <= words
    for step in _HISTORY:
        assert all(word in decisions for word in (step["decision"], step["actor"], "2023-02-03"))
    for time in ("10:00", "10:05", "10:06"):
        assert time in decisions
