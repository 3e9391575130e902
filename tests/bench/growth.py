"""Growth: COPY into a small and a large table, by the ledger's key and by a random one, with a small cache.

`python -m tests.bench.growth --rows 30000000`. The server's own cache is capped, and before each batch the
system is told to forget the index's files: what the server does not hold comes from the disk, as on a machine
whose memory the index has outgrown. The ledger's key needs one leaf (8 KiB) for each device that sends:
choose devices whose leaves fit the cache.
"""

import argparse
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from struct import Struct

import psycopg
from tests.bench.engines import directory, running_postgres
from tests.bench.ledger import wal_position
from tests.bench.report import Row, show

from fleetmeter_local.engines import Postgres
from fleetmeter_workers.ledger.database import Connection

SMALL = 2_000_000
BATCH = 20_000
_BATCHES = 15
_WARM = 5
_BYTES_A_ROW = 420
"""Heap and both indexes of both tables, and the sort that builds an index, by measurement, rounded up."""
_LOG_BYTES = 4 << 30

_COLUMNS = (
    "event_at timestamptz, received_at timestamptz NOT NULL, event_key {key} NOT NULL, "
    "fingerprint uuid NOT NULL, device_id integer NOT NULL, period_id integer, uncertainty integer NOT NULL, "
    "metric_id smallint, verdict smallint NOT NULL, time_method smallint NOT NULL, "
    "revision smallint NOT NULL, evidence smallint NOT NULL, late boolean NOT NULL, "
    "quantity numeric(20, 10), canonical bytea NOT NULL"
)
_FILL = (
    "INSERT INTO {table} SELECT timestamptz '2026-03-01' + n * interval '1 ms', "
    "timestamptz '2026-03-01' + n * interval '1 ms', {key}, md5(n::text)::uuid, n %% {devices}, 1, 5, "
    "2, 0, 2, 1, 3, false, n %% 5000 / 100.0, '' FROM generate_series(%s::bigint, %s::bigint) AS n"
)
# device, epoch, sequence and layout, as rules/identity.py packs them.
_OWN = (
    "(lpad(to_hex(n %% {devices}), 8, '0') || '00000003' || "
    "lpad(to_hex(n / {devices}), 12, '0') || '3000')::uuid"
)
_RANDOM = "sha256(int8send(n))"
_ROW = Struct(">h iq iq").pack
_REST = Struct(">i16s ii ii ii ih ih ih ih ih i? i4h i").pack


@dataclass(frozen=True, slots=True)
class Speed:
    """COPY into one table at one size: rows a second, bytes of the log a row, MiB of the index."""

    rate: float
    wal: float
    index: float


class Table:
    """One of the two tables; it grows by rows of ever higher numbers, spread over all devices."""

    def __init__(self, connection: Connection, name: str, key: str, expression: str, devices: int) -> None:
        """Make the table, without its key yet."""
        self._connection = connection
        self._name = name
        self._expression = expression
        self._random = key == "bytea"
        self._devices = devices
        self._count = 0
        connection.execute(f"CREATE TABLE {name} ({_COLUMNS.format(key=key)})".encode())

    def fill(self, rows: int) -> None:
        """Grow to so many rows at once, and build the key anew."""
        fill = _FILL.format(table=self._name, key=self._expression, devices=self._devices).format(
            devices=self._devices
        )
        self._connection.execute(
            f"ALTER TABLE {self._name} DROP CONSTRAINT IF EXISTS {self._name}_pkey".encode()
        )
        self._connection.execute(fill.encode(), (self._count, rows - 1))
        self._count = max(self._count, rows)
        self._connection.execute(f"ALTER TABLE {self._name} ADD PRIMARY KEY (event_key)".encode())

    def measure(self) -> Speed:
        """Copy batches, a transaction each; the first few warm up the cache and the split pages."""
        rates: list[float] = []
        wal = 0
        for number in range(_WARM + _BATCHES):
            data = self._batch()
            self._forget_index()
            if number == _WARM:
                wal = wal_position(self._connection)
            began = time.perf_counter()
            copy = f"COPY {self._name} FROM STDIN (FORMAT BINARY)".encode()
            with self._connection.cursor() as cursor, cursor.copy(copy) as stream:
                stream.write(data)
            if number >= _WARM:
                rates.append(BATCH / (time.perf_counter() - began))
        grown = wal_position(self._connection) - wal
        size = self._connection.execute(
            "SELECT pg_relation_size(%s::regclass)", (f"{self._name}_pkey",)
        ).fetchone()
        return Speed(median(rates), grown / (_BATCHES * BATCH), (size[0] if size else 0) / 2**20)

    def _forget_index(self) -> None:
        """Write the key's files out, and drop them from the system's cache."""
        row = self._connection.execute(
            f"SELECT current_setting('data_directory'), pg_relation_filepath('{self._name}_pkey')".encode()
        ).fetchone()
        if row is None:
            raise LookupError(f"{self._name} has no key")
        path = Path(row[0]) / row[1]
        for file in path.parent.glob(f"{path.name}*"):
            opened = os.open(file, os.O_RDWR)
            try:
                os.fsync(opened)
                os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(opened)

    def _batch(self) -> bytes:
        numbers = range(self._count, self._count + BATCH)
        self._count += BATCH
        ordered: Sequence[int] = (
            numbers if self._random else sorted(numbers, key=lambda n: (n % self._devices, n))
        )
        parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8), *map(self._encoded, ordered), b"\xff\xff"]
        return b"".join(parts)

    def _encoded(self, n: int) -> bytes:
        device, digest = n % self._devices, hashlib.sha256(n.to_bytes(8, "big")).digest()
        at = 826_000_000_000_000 + n * 1000
        own = (device << 96 | 3 << 64 | (n // self._devices) << 16 | 3 << 12).to_bytes(16, "big")
        key = digest if self._random else own
        rest = _REST(
            16, digest[:16], 4, device, 4, 1, 4, 5, 2, 2, 2, 0, 2, 2, 2, 1, 2, 3, 1, False, 8, 0, 0, 0, 0, 0
        )  # fmt: skip
        return _ROW(15, 8, at, 8, at) + len(key).to_bytes(4, "big") + key + rest


def enough_room(where: Path, rows: int) -> None:
    """Raises SystemExit where the disk has not twice of what the tables and the log will take."""
    needed, free = rows * _BYTES_A_ROW + _LOG_BYTES, shutil.disk_usage(where).free
    print(f"disk: about {needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free in {where}", flush=True)
    if free < 2 * needed:
        raise SystemExit("not enough room: twice of what is needed must be free; choose fewer --rows")


def measure(postgres: Postgres, rows: int, devices: int) -> list[Row]:
    """Both tables at both sizes, in turn."""
    found: dict[tuple[str, int], Speed] = {}
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        tables = {
            "own": Table(connection, "own", "uuid", _OWN, devices),
            "random": Table(connection, "random", "bytea", _RANDOM, devices),
        }
        for size in sorted({min(SMALL, rows), rows}):
            for name, table in tables.items():
                table.fill(size)
                connection.execute("CHECKPOINT")
                found[name, size] = speed = table.measure()
                print(
                    f"{size:>12,} rows, {name:6} key: {speed.rate:>9,.0f} rows/s, "
                    f"{speed.wal:>6,.0f} B of log a row, "
                    f"index {speed.index:,.0f} MiB",
                    flush=True,
                )
    small, large = found["own", min(SMALL, rows)], found["own", rows]
    other = found["random", rows]
    return [
        Row("rows/s at 2 M, the ledger's key", small.rate, f"{small.rate:,.0f}"),
        Row(f"rows/s at {rows:,}, the ledger's key", large.rate, f"{large.rate:,.0f}"),
        Row(
            "large ÷ small, the ledger's key", large.rate / small.rate, f"{large.rate / small.rate:.2f}", 0.5
        ),
        Row(
            "the ledger's key ÷ a random key, large",
            large.rate / other.rate,
            f"{large.rate / other.rate:.1f}",
            10,
        ),
        Row("log bytes a row, large, the ledger's key", large.wal, f"{large.wal:,.0f}"),
        Row("log bytes a row, large, a random key", other.wal, f"{other.wal:,.0f}"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000_000, help="rows of the large table")
    parser.add_argument("--devices", type=int, default=14_000, help="devices that send at the same time")
    parser.add_argument("--cache", default="256MB", help="shared_buffers of the server")
    options = parser.parse_args()
    with directory() as where:
        enough_room(where, options.rows)
        with running_postgres(where, shared_buffers=options.cache, maintenance_work_mem="1GB") as postgres:
            rows = measure(postgres, options.rows, options.devices)
    show(f"Growth to {options.rows:,} rows with a cache of {options.cache}", rows)


if __name__ == "__main__":
    main()
