"""Regions that went before they had our finalizer: what the finalizer would have done is still to be done."""

from __future__ import annotations

from fleetmeter_operator.build import labels
from fleetmeter_operator.build.site import Object


class Departures:
    """The last state of each region that went so, until its data is gone or a newer region takes that up."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._last: dict[str, Object] = {}
        self._begun: set[str] = set()

    def note(self, body: Object, *, gone: bool) -> None:
        """A region was seen, or it went and this was its last state."""
        metadata = body["metadata"]
        name, version = metadata["name"], int(metadata["resourceVersion"])
        # The end of one region may be told after the birth of the next of its name: the version orders them.
        if version < self._newest.get(name, 0):
            return
        self._newest[name] = version
        self._last.pop(name, None)
        if gone and labels.DELETE_DATA not in metadata.get("finalizers", ()):
            self._last[name] = body

    def last(self, name: str) -> Object | None:
        """The last state of the region, or None where nothing is left to do for it."""
        return self._last.get(name)

    def begun(self, name: str) -> bool:
        """Whether its data is being deleted: a newer region of that name then waits for the end of it."""
        return name in self._begun

    def begin(self, name: str) -> None:
        """Decide that its data goes, all of it."""
        self._begun.add(name)

    def settle(self, name: str) -> None:
        """Forget the region: its data is gone, or stays."""
        self._begun.discard(name)
        self._last.pop(name, None)
