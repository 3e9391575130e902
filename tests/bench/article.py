"""The article's consumer, literally: its key, its columns, one INSERT and one commit a message."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from tests.bench.ledger import Cost, Meter
from tests.bench.workload import Sent

from fleetmeter_local.engines import Postgres

PERIOD = "2026-03"
# Postgres wants the partition's columns in the primary key; this is as near as the article's schema comes.
_TABLE = """
CREATE TABLE billing_events (
    event_id text NOT NULL, schema_version integer NOT NULL, customer_id text NOT NULL, metric text NOT NULL,
    quantity numeric(20, 10) NOT NULL, "timestamp" timestamptz NOT NULL, source_reference text NOT NULL,
    billing_period_id text NOT NULL, ingested_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, customer_id, billing_period_id)
) PARTITION BY LIST (billing_period_id);
CREATE TABLE billing_events_202603 PARTITION OF billing_events
    FOR VALUES IN ('2026-03') PARTITION BY HASH (customer_id);
"""
_INSERT = (
    "INSERT INTO billing_events (event_id, schema_version, customer_id, metric, quantity, timestamp, "
    "source_reference, billing_period_id, ingested_at) VALUES (%s, 2, %s, %s, %s, %s, %s, %s, now())"
)
_COPY = (
    "COPY billing_events (event_id, schema_version, customer_id, metric, quantity, timestamp, "
    "source_reference, billing_period_id, ingested_at) FROM STDIN"
)


class Article:
    """The article's table, its loop, and a quick way to fill the table when only its size is asked."""

    def __init__(self, postgres: Postgres, database: str, owners: dict[str, str]) -> None:
        """Make the table, with four hash partitions of the month."""
        self.connection = psycopg.connect(postgres.dsn(database))
        self._owners = owners
        self.connection.execute(_TABLE)
        for part in range(4):
            self.connection.execute(
                f"CREATE TABLE billing_events_202603_{part} PARTITION OF billing_events_202603 "
                f"FOR VALUES WITH (MODULUS 4, REMAINDER {part})".encode()
            )
        self.connection.commit()
        self._admin = psycopg.connect(postgres.dsn(database), autocommit=True)
        self._meter = Meter(self.connection, self._admin)

    def write(self, sent: Sequence[Sent]) -> Cost:
        """The loop: decode, key, INSERT, commit; roll back what the primary key refuses."""
        return self._meter.cost(lambda: self._write(sent))

    def _write(self, sent: Sequence[Sent]) -> int:
        for message in sent:
            values = self._values(json.loads(message.value))
            try:
                self.connection.execute(_INSERT, values)
                self.connection.commit()
            except psycopg.errors.UniqueViolation:
                self.connection.rollback()
        return len(sent)

    def fill(self, sent: Sequence[Sent]) -> int:
        """The same rows at once; returns how many there are."""
        rows = {values[0]: values for values in (self._values(json.loads(message.value)) for message in sent)}
        at = sent[0].log_time
        with self.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for identity, customer, metric, quantity, when, reference, period in rows.values():
                copy.write_row((identity, 2, customer, metric, quantity, when, reference, period, at))
        self.connection.commit()
        return len(rows)

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
        self._admin.close()

    def _values(self, message: dict[str, Any]) -> tuple[str, str, str, Decimal, datetime, str, str]:
        device, sequence, item = message["device"], message["seq"], message["items"][0]
        customer, metric = self._owners[device], item["metric"]
        canonical = json.dumps(
            {"customer_id": customer, "device_id": device, "msg_seq": sequence, "metric": metric},
            sort_keys=True,
        )
        event_id = "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
        event_at = datetime.fromisoformat(message["eventAt"])
        quantity = Decimal(str(item["quantity"]))
        return event_id, customer, metric, quantity, event_at, f"{device}:{sequence}", PERIOD
