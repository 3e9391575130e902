"""What every test may count on: Ctrl-C means what it means in a terminal, and neighbours share engines."""

import signal

import pytest

# A run that a script started in the background inherits an ignored SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_ON_AN_API_SERVER = {"crds", "operator"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several workers one runs all tests of a file, and one all that start an API server."""
    for item in items:
        folder = item.path.parent.name
        group = "api-server" if folder in _ON_AN_API_SERVER else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
