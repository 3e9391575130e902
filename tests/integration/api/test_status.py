"""The status: counts, what a period waits for, and the decision about a backfill."""

from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
import yaml
from confluent_kafka import Producer

from fleetmeter_api.region import Region
from fleetmeter_workers.ledger import periods, registry
from fleetmeter_workers.ledger.periods import PeriodCount

_BACKFILL = "20221231-20230228"


def _write_contract(api) -> None:
    contract = {
        "contract": "acme-1",
        "customer": {"code": "acme", "name": "Acme", "address": ["Road 1"]},
        "plan": "standard",
        "validFrom": "2023-01-01",
    }
    (api.contracts / "acme.yaml").write_text(yaml.safe_dump(contract))
    api.await_contracts(loaded=1)


def _produce(api, partition: int, count: int) -> None:
    producer = Producer({"bootstrap.servers": api.kafka.bootstrap, "acks": "all"})
    for _ in range(count):
        producer.produce(api.topic, b"{}", b"", partition=partition)
    assert producer.flush(30) == 0


def _consumed(api, offsets: dict[int, int]) -> None:
    """Say that the consumer decided every partition up to these offsets."""
    with api.ledger() as connection:
        for partition in range(4):
            offset = offsets.get(partition, 0)
            connection.execute(
                "INSERT INTO fleetmeter.partition_offset (topic, partition, topic_id, next_offset, "
                "counted_offset, records, undecodable, watermark_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset, "
                "counted_offset = excluded.counted_offset, records = excluded.records, "
                "undecodable = excluded.undecodable",
                (
                    api.topic,
                    partition,
                    UUID(int=7),
                    offset,
                    offset,
                    offset,
                    offset,
                    datetime(2023, 5, 1 + partition, tzinfo=UTC),
                ),
            )


def test_periods_are_listed_before_there_is_anything_in_them(api, region) -> None:
    status = api.status()
    assert list(status["periods"]) == ["eu-202301", "eu-202302", "eu-202303"]
    assert status["periods"]["eu-202301"] == {
        "contractPeriods": 0,
        "open": 0,
        "sealing": 0,
        "final": 0,
        "events": 0,
        "late": 0,
        "quarantined": 0,
        "duplicates": 0,
        "invoices": 0,
        "boundaryCandidates": 0,
        "boundaryUndecided": 0,
        "missing": 0,
        "silentDevices": 0,
        "sealable": False,
        "waitingFor": "ContractsMissing",
        "message": status["periods"]["eu-202301"]["message"],
        "cutOff": "2023-02-03T23:00:00Z",
    }
    assert status["observed"]["schemaVersion"] >= 4
    assert status["observed"]["specHash"] == Region.model_validate(region).spec.content_hash
    assert status["backfill"] == {"id": _BACKFILL, "state": "pending"}
    assert status["consumer"] == {
        "lag": 0,
        "watermark": None,
        "records": 0,
        "billed": 0,
        "duplicate": 0,
        "quarantined": 0,
    }


def test_a_backfill_holds_its_periods_until_it_is_complete_and_read(api) -> None:
    _write_contract(api)
    _produce(api, partition=1, count=3)
    _consumed(api, {1: 1})
    before = api.status()
    assert before["consumer"]["lag"] == 2
    assert before["consumer"]["watermark"] == "2023-05-01T00:00:00Z"
    waits = {name: period["waitingFor"] for name, period in before["periods"].items()}
    # March lies outside the backfill; every record of the queue is younger than its cut-off.
    assert waits == {"eu-202301": "BackfillPending", "eu-202302": "BackfillPending", "eu-202303": ""}

    done = api.post(f"/v1/backfills/{_BACKFILL}/complete")
    assert done.status_code == 200, done.text
    assert done.json()["endOffsets"] == {"0": 0, "1": 3, "2": 0, "3": 0}
    assert done.json()["actor"] == "operator-name"
    held = api.status()
    assert held["backfill"] == {"id": _BACKFILL, "state": "completed"}
    assert held["periods"]["eu-202301"]["waitingFor"] == "BackfillPending"
    assert "2 of its records" in held["periods"]["eu-202301"]["message"]

    _produce(api, partition=1, count=1)
    again = api.post(f"/v1/backfills/{_BACKFILL}/complete")
    assert again.json() == done.json()
    assert api.post(f"/v1/backfills/{_BACKFILL}/revert").status_code == 409

    _consumed(api, {1: 3})
    after = api.status()["periods"]
    assert all(period["sealable"] and period["waitingFor"] == "" for period in after.values())
    assert [each["state"] for each in api.get("/v1/backfills").json()["backfills"]] == ["completed"]


def test_a_reverted_backfill_holds_nothing(api) -> None:
    _write_contract(api)
    _consumed(api, {})
    assert api.get("/v1/backfills").json()["backfills"][0]["state"] == "pending"
    first = api.post(f"/v1/backfills/{_BACKFILL}/revert")
    assert first.json()["state"] == "reverted"
    assert api.post(f"/v1/backfills/{_BACKFILL}/revert").json() == first.json()
    assert api.post(f"/v1/backfills/{_BACKFILL}/complete").status_code == 409
    assert api.status()["periods"]["eu-202301"]["sealable"]


class TestRunningRegion:
    """A region whose periods go on, without a backfill."""

    @pytest.fixture
    def region(self, region):
        del region["spec"]["backfill"]
        del region["spec"]["calendar"]["lastPeriod"]
        region["spec"]["lateUsage"] = {"gracePeriodSeconds": 0}
        return region

    def test_usage_before_the_cut_off_is_waited_for_and_later_usage_is_not(self, api) -> None:
        _write_contract(api)
        _produce(api, partition=2, count=2)
        _consumed(api, {})
        periods_now = api.status()["periods"]
        running = list(periods_now)[-1]
        assert periods_now[running]["waitingFor"] == "CutOffNotReached"
        # The queue's records came after the cut-off of every earlier period.
        assert {period["waitingFor"] for name, period in periods_now.items() if name != running} == {""}

    def test_a_partition_that_nobody_read_is_waited_for(self, api) -> None:
        _write_contract(api)
        with api.ledger() as connection:
            assert connection.execute("SELECT count(*) FROM fleetmeter.partition_offset").fetchone() == (0,)
        # An empty partition is consumed as far as it goes.
        assert api.status()["periods"]["eu-202301"]["sealable"]

    def test_counts_are_the_ledgers(self, api) -> None:
        _write_contract(api)
        with api.ledger() as connection:
            customer = registry.customer_ids(connection, ["acme"])["acme"]
            row = connection.execute(
                "INSERT INTO fleetmeter.contract_period (contract, customer_id, billing_period, starts_at, "
                "ends_at, cutoff_at, late_usage) VALUES ('acme-1', %s, 'eu-202302', '2023-01-31T23:00:00Z', "
                "'2023-02-28T23:00:00Z', '2023-03-02T23:00:00Z', 'Grace') RETURNING period_id",
                (customer,),
            ).fetchone()
            assert row is not None
            with connection.transaction():
                periods.add_counts(
                    connection, {row[0]: PeriodCount(events=7, late=2, duplicates=3, quarantined=1)}
                )
            found = api.status()["periods"]["eu-202302"]
            assert {name: found[name] for name in ("contractPeriods", "open", "final", "cutOff")} == {
                "contractPeriods": 1,
                "open": 1,
                "final": 0,
                "cutOff": "2023-03-02T23:00:00Z",
            }
            assert [found[name] for name in ("events", "late", "duplicates", "quarantined")] == [7, 2, 3, 1]
            periods.set_phase(connection, row[0], "final")
        final = api.status()["periods"]["eu-202302"]
        assert (final["open"], final["final"], final["sealable"], final["waitingFor"]) == (0, 1, False, "")

    def test_a_contract_with_its_own_grace_moves_the_cut_off(self, api) -> None:
        contract = {
            "contract": "acme-1",
            "customer": {"code": "acme", "name": "Acme", "address": ["Road 1"]},
            "plan": "standard",
            "validFrom": "2023-01-01",
            "gracePeriodSeconds": 86400,
        }
        (api.contracts / "acme.yaml").write_text(yaml.safe_dump(contract))
        api.await_contracts(loaded=1)
        assert api.status()["periods"]["eu-202301"]["cutOff"] == "2023-02-01T23:00:00Z"


def test_status_and_writes_while_an_engine_is_away(api) -> None:
    _write_contract(api)
    api.kafka.process.pause()
    try:
        status = api.status()
        assert status["consumer"]["lag"] is None
        assert status["periods"]["eu-202303"]["waitingFor"] == "UsagePending"
        refused = api.post(f"/v1/backfills/{_BACKFILL}/complete")
        assert refused.status_code == 503
        assert "nothing was decided" in refused.json()["error"]
    finally:
        api.kafka.process.resume()
    with api.ledger() as connection:
        states = connection.execute("SELECT state FROM fleetmeter.backfill").fetchall()
    assert states == [("pending",)]


def test_a_ledger_that_went_away_is_told_and_comes_back(api) -> None:
    name = api.database.name.encode()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(api.database.server.dsn(), autocommit=True) as server:
        server.execute(end, (api.database.name,))
        # Broken connections alone are nobody's business.
        assert api.get("/v1/usage").status_code == 200
        server.execute(b'ALTER DATABASE "%s" ALLOW_CONNECTIONS false' % name)
        server.execute(end, (api.database.name,))
        refused = api.get("/v1/usage")
        assert refused.status_code == 503
        assert set(refused.json()) == {"error", "remedy"}
        api.await_ready(False)
        server.execute(b'ALTER DATABASE "%s" ALLOW_CONNECTIONS true' % name)
        api.await_ready(True)
    assert api.get("/v1/usage").status_code == 200
    assert api.status()["region"] == "eu"
