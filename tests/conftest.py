"""What every test may count on: Ctrl-C means what it means in a terminal, and neighbours share engines."""

import signal

import pytest

# A run that a script started in the background inherits an ignored SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_ON_AN_API_SERVER = {"crds", "operator"}
_LONGEST = {"api-server", "test_random_faults", "test_right_month"}
"""Groups that would keep the other workers waiting if they came last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several workers one runs all tests of a file, one all on an API server; the longest first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _group(item) not in _LONGEST)


def _group(item: pytest.Item) -> str:
    return "api-server" if item.path.parent.name in _ON_AN_API_SERVER else item.path.stem
