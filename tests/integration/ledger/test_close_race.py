"""The seal and the consumer meet at the period's row: nothing falls between them."""

import threading
from typing import Any

import psycopg
import pytest

from fleetmeter_api.contract import Seller
from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import Region
from fleetmeter_workers.close.seal import Book, seal
from fleetmeter_workers.ledger import contracts
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import connect

JANUARY = "2023-01-10T12:00:00Z"
BLOCKED = (
    "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
)


@pytest.fixture
def started(line: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A line with five billed events in January, and this process as its closer."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    line.send_events("meter-1", range(5), stated=line.instant(JANUARY))
    line.drain()
    for name, value in line.environment("closer").items():
        monkeypatch.setenv(name, value)
    return line


def book(line: Any) -> Book:
    """What the close knows."""
    region = Region.model_validate(line.region)
    versions = contracts.all_versions(line.ledger)
    plan = PlanDocument.model_validate(line.plans[0])
    seller = Seller(name="Fleet SE", address=("2 Quay",), tax_id="IE123", email="bills@fleet.example")
    return Book(region, ContractBook(region, versions), {plan.name: plan}, seller)


def test_the_seal_waits_for_a_batch(started: Any) -> None:
    """A batch that has not committed yet holds the period: the seal waits, and invoices its rows too."""
    line = started
    period_id = line.value("SELECT period_id FROM contract_period")
    failures: list[BaseException] = []

    def close() -> None:
        try:
            with connect("close") as connection:
                seal(connection, book(line), period_id)
        except BaseException as error:  # noqa: BLE001 a thread's failure is the test's
            failures.append(error)

    with psycopg.connect(line.database.dsn()) as other:
        other.execute("LOCK TABLE fleetmeter.usage_hour IN EXCLUSIVE MODE")
        worker = line.consume()
        line.send_events("meter-1", range(5, 9), stated=line.instant(JANUARY))
        line.flush()
        line.await_true(lambda: line.value(BLOCKED, "fleetmeter-consumer") == 1, "the batch to be open")
        closer = threading.Thread(target=close)
        closer.start()
        line.await_true(lambda: line.value(BLOCKED, "fleetmeter-close") == 1, "the seal to wait")
    closer.join(60)
    assert worker.stop() == 0
    assert failures == []
    assert [each["events"] for each in line.invoices()] == [9]
    assert line.value("SELECT count(*)::int FROM event WHERE verdict = 0") == 9


def test_a_batch_waits_for_the_seal(started: Any) -> None:
    """Usage in time that comes while its period is being sealed is late usage, set aside and flagged; never
    lost."""
    line = started
    period_id = line.value("SELECT period_id FROM contract_period")
    with connect("close") as connection, connection.transaction():
        seal(connection, book(line), period_id)
        worker = line.consume()
        line.send_events("meter-1", range(3, 9), stated=line.instant(JANUARY))
        line.flush()
        line.await_true(lambda: line.value(BLOCKED, "fleetmeter-consumer") == 1, "the batch to wait")
    line.await_true(lambda: line.decided() == 11, "the batch")
    assert worker.stop() == 0
    assert [each["events"] for each in line.invoices()] == [5]
    assert line.value("SELECT count(*)::int FROM event WHERE verdict = 0") == 5
    aside = line.rows("SELECT DISTINCT reason, late, detail LIKE '%%clock went back%%' FROM quarantine")
    assert aside == [("late_after_final", True, True)]
    assert line.rows("SELECT events, late, duplicates, quarantined FROM period_count") == [(5, 4, 2, 4)]
    with connect("close") as connection:
        assert seal(connection, book(line), period_id) is None


def test_replicas_share_the_partitions(line: Any) -> None:
    """With two replicas the group shares the partitions; when one dies the other takes its part over."""
    line.region["spec"]["consumers"] = {"replicas": 2}
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    workers = [line.consume(), line.consume()]

    def owned() -> list[int]:
        positions = [[each for each in w.lines if each["event"] == "positioned"] for w in workers]
        return [len(found[-1]["offsets"]) if found else 0 for found in positions]

    line.await_true(lambda: sum(owned()) == 4 and min(owned()) > 0, "both to share")
    for partition in range(4):
        line.send_events("meter-1", range(partition * 10, partition * 10 + 10), partition=partition)
    line.flush()
    line.await_true(lambda: line.decided() == 40, "the first forty")
    workers[0].kill()
    for partition in range(4):
        line.send_events("meter-1", range(partition * 10, partition * 10 + 10), partition=partition)
    line.flush()
    line.await_true(lambda: line.decided() == 80, "the other forty")
    assert workers[1].stop() == 0
    totals = line.rows(
        "SELECT sum(billed)::int, sum(duplicate)::int, sum(quarantined)::int FROM partition_offset"
    )
    assert totals == [(0, 40, 40)]
