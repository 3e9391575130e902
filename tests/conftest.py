"""What every test may count on: Ctrl-C means what it means in a terminal, and neighbours share engines."""

import signal
from pathlib import PurePath

import pytest
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs] - it has types, unmarked
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] - the same

# A run that a script started in the background inherits an ignored SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_SHARING = {"crds": "api-server", "operator": "api-server", "e2e": "cluster"}
"""What the tests of these directories start once for all of them."""
_LONGEST = (
    "cluster",
    "api-server",
    "faults/test_random_faults",
    "integration/test_right_month",
    "local/test_command",
    "gateway/test_mqtt",
    "ledger/test_replay",
    "ledger/test_review",
    "api/test_reviews",
)
"""Groups that would keep the other workers waiting if they came last, the longest first."""


class Neighbours(LoadScopeScheduling):
    """Of several workers one runs all tests of a file, one all on an API server, one all on a cluster."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(PurePath(nodeid.partition("::")[0]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Neighbours:
    """Whatever the way of sharing that is asked for: others would start every engine on every worker."""
    return Neighbours(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    place = {group: number for number, group in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(_group(item.path), len(place)))


def _group(path: PurePath) -> str:
    return _SHARING.get(path.parent.name, f"{path.parent.name}/{path.stem}")
