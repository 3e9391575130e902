"""The view `billing_events`: ids equal to the rules', and the article's two jobs as printed."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg

from fleetmeter_rules import identity
from fleetmeter_rules.identity import Identity
from fleetmeter_workers.ledger import registry

JOB_1 = """
-- Job 1: Invoice aggregation (per-tenant totals for invoicing)
-- Runs at billing period close

SELECT
    customer_id,
    metric,
    SUM(quantity)  AS total_quantity,
    COUNT(DISTINCT source_reference) AS unique_events
FROM
    billing_events
WHERE
    customer_id      = $1
    AND billing_period_id = $2
GROUP BY
    customer_id, metric;
"""

JOB_2 = """
-- Job 2: Device audit trail (per-device breakdown for dispute resolution)
-- Runs on demand or daily for customer dashboard

SELECT
    SPLIT_PART(source_reference, ':', 1) AS device_id,  -- extract from "dev_X:seq_Y"
    metric,
    COUNT(*)       AS event_count,
    SUM(quantity)  AS total_quantity,
    MIN(timestamp) AS first_event,
    MAX(timestamp) AS last_event
FROM
    billing_events
WHERE
    customer_id      = $1
    AND billing_period_id = $2
GROUP BY
    device_id, metric
ORDER BY
    device_id, metric;
"""


def identities(device: str) -> list[Identity]:
    """Every layout of the packed key at its edges, and what does not fit it."""
    return [
        identity.lorawan(device, "00000000", 0),
        identity.lorawan(device, "ffffffff", 2**32 - 1, 4095),
        identity.lorawan(device, None, 7, 1),
        identity.lorawan(device, "session-1", 7),
        identity.epoch_sequence(device, "0", 0),
        identity.epoch_sequence(device, str(2**32 - 1), 2**48 - 1, 4095),
        identity.epoch_sequence(device, str(2**32), 5),
        identity.epoch_sequence(device, "007", 5, 4096),
        identity.producer_id(device, "0"),
        identity.producer_id(device, str(2**48 - 1)),
        identity.producer_id(device, str(2**48)),
        identity.producer_id(device, "a-42", "//sensor"),
        identity.http_key(device, "p", "/v1", "é"),
        identity.content_hash(device, b"\x00\xff"),
    ]


def test_ids_are_those_of_the_rules(line: Any) -> None:
    """`event_id` in SQL and `identity.event_id` agree, and references differ wherever identities do."""
    references: set[str] = set()
    for number, device in enumerate(("a81758fffe04b1c1", "zähler-7", "x" * 255)):
        for each in identities(device):
            packed = identity.packed_key(number, each)
            stored, reference = line.rows(
                "SELECT event_id(%s, %s, %s), source_reference(%s, %s, %s)",
                device,
                uuid.UUID(bytes=packed.key),
                packed.canonical or b"",
                f"alias-{number}",
                uuid.UUID(bytes=packed.key),
                packed.canonical or b"",
            )[0]
            assert stored == identity.event_id(each), each
            assert reference.split(":")[0] == f"alias-{number}"
            references.add(reference)
    assert len(references) == 3 * len(identities("x"))


def run_job(line: Any, job: str, customer: str, period: str) -> list[tuple[Any, ...]]:
    """Run a job's text as it is, as a session of the API's role."""
    with psycopg.connect(line.database.dsn("api"), autocommit=True) as session:
        session.execute(b"PREPARE job AS " + job.encode())
        return session.execute(f"EXECUTE job ('{customer}', '{period}')".encode()).fetchall()


def test_the_articles_jobs_run_unchanged(line: Any) -> None:
    """Job 1 gives the invoice's quantity and event count, Job 2 its devices; what is set aside is in
    neither."""
    line.sign(line.contract("c-1", "acme"), line.contract("c-2", "globex"))
    registry.register(
        line.ledger,
        [
            registry.Registration("meter-1", "acme", alias="hall"),
            registry.Registration("meter-2", "acme", alias="yard"),
            registry.Registration("meter-3", "globex"),
        ],
        "test",
    )
    first, last = "2023-01-10T00:00:00+00:00", "2023-01-20T00:00:00+00:00"
    for device, sequences in (("meter-1", range(3)), ("meter-2", range(2)), ("meter-3", range(9))):
        for at in (first, last):
            line.send_events(device, [s + 100 * (at == last) for s in sequences], stated=line.instant(at))
            line.send_events(device, [s + 100 * (at == last) for s in sequences], stated=line.instant(at))
    line.send_events("stranger", range(4), stated=line.instant(first))
    line.drain()
    assert run_job(line, JOB_1, "acme", "eu-202301") == [("acme", "messages", Decimal(10), 10)]
    ends = [datetime.fromisoformat(first).astimezone(UTC), datetime.fromisoformat(last).astimezone(UTC)]
    assert run_job(line, JOB_2, "acme", "eu-202301") == [
        ("hall", "messages", 6, Decimal(6), *ends),
        ("yard", "messages", 4, Decimal(4), *ends),
    ]
    line.complete_backfill()
    assert line.close_period("eu-202301")[0] == 0
    invoice = next(each for each in line.invoices() if each["contract"] == "c-1")
    (charge,) = invoice["lines"]
    assert (charge["quantity"], invoice["events"]) == ("10", 10)
    assert [(share["device"], share["quantity"]) for share in charge["byDevice"]] == [
        ("hall", "6"),
        ("yard", "4"),
    ]
