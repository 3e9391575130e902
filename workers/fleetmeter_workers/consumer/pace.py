"""Pace: how many records a batch may have, so that what comes in behind it does not wait long."""

from typing import Final

MOST: Final = 5000
"""The largest batch; a larger one gains nothing."""
_LEAST: Final = 500
_LONGEST: Final = 0.5


class Pace:
    """The size of the next batch, by the time that full ones took.

    Every customer's records go through the same batches. On a slow or busy machine a small one keeps the wait
    short for those who have sent little; on a fast machine the largest costs least.
    """

    def __init__(self) -> None:
        """Begin with the largest batch."""
        self._most = MOST

    @property
    def most(self) -> int:
        """How many records the next batch may have."""
        return self._most

    def note(self, records: int, seconds: float) -> None:
        """A batch of so many records took so many seconds. One that was not full tells nothing."""
        if records < self._most:
            return
        if seconds > _LONGEST:
            self._most = max(_LEAST, int(records * _LONGEST / seconds))
        elif seconds < _LONGEST / 2:
            self._most = min(MOST, records * 2)
