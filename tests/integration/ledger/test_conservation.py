"""The law of conservation: no commit can break it, and nothing is sealed on a ledger where it is broken."""

from typing import Any

import psycopg
import pytest

BREAK = b"UPDATE partition_offset SET billed = billed + 1 WHERE partition = 0"
CHECK = (
    "SELECT conname FROM pg_constraint WHERE conrelid = 'fleetmeter.partition_offset'::regclass "
    "AND pg_get_constraintdef(oid) LIKE '%%billed%%'"
)


def test_a_broken_sum_is_refused_by_the_table_and_by_the_close(line: Any) -> None:
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    line.send_events("meter-1", range(5), stated=line.instant("2023-01-10T12:00:00Z"))
    line.drain()
    line.complete_backfill()
    with pytest.raises(psycopg.errors.CheckViolation):
        line.ledger.execute(BREAK)
    name = line.value(CHECK)
    line.ledger.execute(f'ALTER TABLE partition_offset DROP CONSTRAINT "{name}"'.encode())
    line.ledger.execute(BREAK)
    status, message = line.close_period("eu-202301")
    assert status == 65
    assert message.startswith("partition 0: 5 items, but 6 billed, duplicate or quarantined; restore")
    assert line.invoices() == []
