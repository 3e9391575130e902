"""High water: which rows can only be new, by the marks of their device and epoch."""

from datetime import UTC, datetime
from decimal import Decimal

from fleetmeter_rules.identity import epoch_sequence, packed_key, producer_id
from fleetmeter_workers.consumer.high_water import HighWater
from fleetmeter_workers.ledger.events import EventRow

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def row(sequence: int, *, epoch: str = "1", device: int = 3, period: int | None = 9) -> EventRow:
    """A row of a device's own counter."""
    key = packed_key(device, epoch_sequence("m", epoch, sequence)).key
    return EventRow(key, NOON, NOON, bytes(16), device, period, 0, 1, 0, 0, 1, False, Decimal(1), b"")


def hashed(name: str) -> EventRow:
    """A row whose key is a hash."""
    packed = packed_key(3, producer_id("m", name))
    assert packed.canonical is not None
    return EventRow(
        packed.key, NOON, NOON, bytes(16), 3, 9, 0, 1, 0, 0, 1, False, Decimal(1), packed.canonical
    )


def marked(*rows: EventRow) -> HighWater:
    """Marks as the ledger gives them."""
    water = HighWater()
    water.learn({each.key[:8]: each.key for each in rows})
    return water


def test_only_what_lies_above_its_own_mark_is_new() -> None:
    """An earlier number, the mark itself, another epoch that was not read, and a hash are compared."""
    above, others = marked(row(5)).split([row(4), row(5), row(6), row(9, epoch="2"), hashed("x")])
    assert above == [row(6)]
    assert others == [row(4), row(5), row(9, epoch="2"), hashed("x")]


def test_unread_marks_are_asked_for() -> None:
    """A device's epoch is asked for once, a hash never."""
    water = marked(row(5))
    assert water.unknown([row(6), hashed("x"), row(1, epoch="2")]) == {row(1, epoch="2").key[:8]}


def test_an_epoch_that_holds_nothing_takes_its_first() -> None:
    """The ledger answers for an empty epoch with a key below all."""
    water = HighWater()
    water.learn({row(0).key[:8]: row(0).key[:8] + bytes(8)})
    assert water.split([row(0)]) == ([row(0)], [])


def test_marks_rise_with_what_is_committed_and_never_fall() -> None:
    water = marked(row(5))
    water.rise([row(8), row(7), row(3), row(1, epoch="2")])
    assert water.split([row(8), row(9)]) == ([row(9)], [row(8)])
    assert water.unknown([row(2, epoch="2")]) == {row(2, epoch="2").key[:8]}


def test_a_row_that_lacks_a_column_is_merged() -> None:
    assert marked(row(5)).split([row(6, period=None)]) == ([], [row(6, period=None)])


def test_forgotten_marks_are_read_again() -> None:
    water = marked(row(5))
    water.forget()
    assert water.unknown([row(6)]) == {row(6).key[:8]}
    assert water.split([row(6)]) == ([], [row(6)])
