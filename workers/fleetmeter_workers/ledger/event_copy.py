"""Event copy: event rows in the binary form of COPY, the cheapest way in where no conflict can be."""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from fleetmeter_workers.ledger.arrays import micros, number
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.events import EventRow

_COPY: Final = (
    "COPY fleetmeter.event (event_at, received_at, event_key, fingerprint, device_id, period_id, "
    "uncertainty, metric_id, verdict, time_method, revision, evidence, late, quantity, canonical) "
    "FROM STDIN (FORMAT BINARY)"
)
_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_COLUMNS: Final = 15
# The number of columns, then each column's length and value; quantity and canonical follow.
_FIXED: Final = Struct(">h iq iq i16s i16s ii ii ii ih ih ih ih ih i?").pack
_LENGTH: Final = Struct(">i").pack
_EMPTY: Final = _LENGTH(0)


def copyable(row: EventRow) -> bool:
    """Whether the row has every column; one that lacks any was set aside undecided, and is rare."""
    return row.event_at is not None and row.period_id is not None and row.metric_id is not None


def copy(connection: Connection, rows: Iterable[EventRow]) -> None:
    """Add rows that are `copyable` and whose keys are all new. Raises psycopg.errors.UniqueViolation for a
    key that is known, and then nothing is added."""
    data = b"".join([_BEGIN, *map(encoded, rows), _END])
    with connection.cursor() as cursor, cursor.copy(_COPY) as stream:
        stream.write(data)


def encoded(row: EventRow) -> bytes:
    """One row of the stream; it must be `copyable`."""
    if row.event_at is None or row.quantity is None:
        raise AssertionError("only a row that is copyable is copied")
    fixed = _FIXED(
        _COLUMNS,
        8,
        micros(row.event_at),
        8,
        micros(row.received_at),
        16,
        row.key,
        16,
        row.fingerprint,
        4,
        row.device_id,
        4,
        row.period_id,
        4,
        row.uncertainty,
        2,
        row.metric_id,
        2,
        row.verdict,
        2,
        row.time_method,
        2,
        row.revision,
        2,
        row.evidence,
        1,
        row.late,
    )
    canonical = row.canonical
    return fixed + number(row.quantity) + (_LENGTH(len(canonical)) + canonical if canonical else _EMPTY)
