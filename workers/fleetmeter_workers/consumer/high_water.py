"""High water: the largest key of each device and epoch, above which a row can only be new."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fleetmeter_workers.ledger.event_copy import copyable
from fleetmeter_workers.ledger.events import EventRow

_PREFIX: Final = 8
_HASHED: Final = 0x80
_MOST: Final = 200_000
"""More device epochs than this in memory are forgotten and read again; about 40 MiB."""


class HighWater:
    """Marks by the first eight bytes of a key (device and epoch), for a writer that writes alone.

    A mark is true until somebody else writes. Whoever uses marks must hold the ledger's writer lock alone,
    and `forget` them when the offsets show that another consumer has committed since.
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._marks: dict[bytes, bytes] = {}

    def forget(self) -> None:
        """Know nothing any more."""
        self._marks.clear()

    def unknown(self, rows: Iterable[EventRow]) -> set[bytes]:
        """The prefixes that need to be read from the ledger before `split`."""
        found = {row.key[:_PREFIX] for row in rows if not row.key[0] & _HASHED}
        missing = found - self._marks.keys()
        if len(self._marks) + len(missing) > _MOST:
            self._marks.clear()
            return found
        return missing

    def learn(self, marks: Mapping[bytes, bytes]) -> None:
        """Take what the ledger holds: the largest key of each prefix."""
        self._marks.update(marks)

    def split(self, rows: Sequence[EventRow]) -> tuple[list[EventRow], list[EventRow]]:
        """The rows that can only be new, and the others.

        A key that is a hash tells nothing by its size; it is always one of the others.
        """
        above: list[EventRow] = []
        others: list[EventRow] = []
        marks = self._marks
        for row in rows:
            mark = marks.get(row.key[:_PREFIX])
            is_new = mark is not None and row.key > mark and copyable(row)
            (above if is_new else others).append(row)
        return above, others

    def rise(self, rows: Iterable[EventRow]) -> None:
        """Raise the marks to rows that are committed."""
        marks = self._marks
        for row in rows:
            prefix = row.key[:_PREFIX]
            mark = marks.get(prefix)
            if mark is not None and row.key > mark:
                marks[prefix] = row.key
