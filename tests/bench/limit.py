"""The limits to compare with: COPY of the ledger's own columns, prepared beforehand, into other tables."""

import hashlib
from collections.abc import Sequence

from tests.bench.ledger import BATCH, Cost, Meter

from fleetmeter_local.engines import Postgres
from fleetmeter_workers.ledger.database import connect

_COLUMNS = (
    "event_at timestamptz, received_at timestamptz NOT NULL, event_key {key} PRIMARY KEY, "
    "fingerprint uuid NOT NULL, device_id integer NOT NULL, period_id integer, uncertainty integer NOT NULL, "
    "metric_id smallint, verdict smallint NOT NULL, time_method smallint NOT NULL, "
    "revision smallint NOT NULL, evidence smallint NOT NULL, late boolean NOT NULL, "
    "quantity numeric(20, 10), canonical bytea NOT NULL"
)
Row = tuple[bytes, ...]


class Copy:
    """COPY into a table of the ledger's columns; `key` is the primary key's type, bytea for a sha256."""

    def __init__(self, postgres: Postgres, database: str, table: str, key: str) -> None:
        """Make the table."""
        self._connection = connect("bench", postgres.dsn(database))
        self._connection.execute(f"CREATE TABLE {table} ({_COLUMNS.format(key=key)})".encode())
        self._meter = Meter(self._connection, self._connection)
        self._copy = f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()

    def write(self, batches: Sequence[tuple[bytes, int]]) -> Cost:
        """Copy the prepared batches, a transaction each."""
        return self._meter.cost(lambda: self._write(batches))

    def _write(self, batches: Sequence[tuple[bytes, int]]) -> int:
        for data, _ in batches:
            with self._connection.cursor() as cursor, cursor.copy(self._copy) as stream:
                stream.write(data)
        return sum(count for _, count in batches)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def prepared(rows: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Encoded rows as whole COPY streams of a batch each, with how many rows each has."""
    head, tail = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
    parts = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
    return [(b"".join([head, *part, tail]), len(part)) for part in parts]


def random_key(row: bytes) -> bytes:
    """The encoded row of the ledger with the sha256 of its key in the key's place."""
    start = 2 + 12 + 12
    digest = hashlib.sha256(row[start + 4 : start + 20]).digest()
    return row[:start] + (32).to_bytes(4, "big") + digest + row[start + 20 :]
