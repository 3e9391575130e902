"""Link: when a device can send, given its outages."""

from bisect import bisect_right
from typing import Final

from fleetmeter_cli.fleet.outage import Outage

_CONNECT: Final = 1500
"""Milliseconds from the end of an outage to the first message, and to the clock's synchronisation before."""


class Link:
    """The outages of a device in their order."""

    def __init__(self, outages: list[Outage]) -> None:
        self.outages = outages
        self._starts = [outage.start for outage in outages]

    def up(self, instant: int) -> int:
        """The earliest time from the instant on at which the device can send."""
        before = bisect_right(self._starts, instant) - 1
        if before < 0:
            return instant
        return max(instant, self.outages[before].end + _CONNECT)

    def unbroken(self, first: int, last: int) -> bool:
        """Whether no outage touches the time between the two instants."""
        return self.up(first) == first and bisect_right(self._starts, first) == bisect_right(
            self._starts, last
        )

    def since(self, instant: int) -> int:
        """How many outages have begun by then."""
        return bisect_right(self._starts, instant)
