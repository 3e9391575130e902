"""What a replay may be asked for, what is refused, and what is written down about it."""

import json
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

RECORDS = 20


@pytest.fixture
def read(api: Any) -> Any:
    """An API whose topic has twenty records in partition 1, all decided by the ledger's account."""
    producer = Producer({"bootstrap.servers": api.kafka.bootstrap})
    for _ in range(RECORDS):
        producer.produce(api.topic, b"x", partition=1)
    assert producer.flush(30) == 0
    with api.ledger() as ledger:
        ledger.execute(
            "INSERT INTO fleetmeter.partition_offset (topic, partition, topic_id, next_offset, "
            "counted_offset, records, not_billable) VALUES (%s, 1, gen_random_uuid(), 20, 20, 20, 20)",
            (api.topic,),
        )
    return api


def ask(api: Any, **request: Any) -> Any:
    return api.post("/v1/replays", json.dumps(request))


def stands(api: Any) -> tuple[Any, ...]:
    with api.ledger() as ledger:
        row = ledger.execute("SELECT next_offset, counted_offset FROM fleetmeter.partition_offset").fetchone()
        assert row is not None
        return row


def test_it_sets_the_offset_back_and_keeps_who_asked(read: Any) -> None:
    answer = ask(read, fromOffset=5)
    assert answer.status_code == 200, answer.text
    entry = answer.json()
    assert entry["partitions"] == [{"partition": 1, "from": 5, "to": RECORDS, "at": 5}]
    assert (entry["actor"], entry["left"], entry["after"]) == ("operator-name", 15, None)
    assert stands(read) == (5, RECORDS)
    with read.ledger() as ledger:
        ledger.execute("UPDATE fleetmeter.partition_offset SET next_offset = 20")
    done = read.get(f"/v1/replays/{entry['id']}").json()
    assert (done["left"], done["addedEvents"], done["addedSetAside"]) == (0, 0, 0)
    assert done["after"] == done["before"] == entry["before"]
    assert [each["id"] for each in read.get("/v1/replays").json()["replays"]] == [entry["id"]]


def test_what_the_ledger_gained_without_a_record_is_told(read: Any) -> None:
    entry = ask(read, fromOffset=0).json()
    with read.ledger() as ledger:
        ledger.execute("UPDATE fleetmeter.partition_offset SET next_offset = 20")
        ledger.execute(
            "INSERT INTO fleetmeter.usage_hour (hour, events, late, period_id, metric_id, quantity) "
            "VALUES (now(), 3, 0, 1, 1, 3)"
        )
    assert read.get(f"/v1/replays/{entry['id']}").json()["addedEvents"] == 3


def test_a_time_and_a_period_find_their_offset(read: Any) -> None:
    assert ask(read, since="2100-01-01T00:00:00Z").status_code == 409
    assert stands(read) == (RECORDS, RECORDS)
    assert ask(read, since="0001-01-01T00:00:00Z").json()["partitions"][0]["from"] == 0
    with read.ledger() as ledger:
        ledger.execute("UPDATE fleetmeter.partition_offset SET next_offset = 20")
    assert ask(read, billingPeriod="eu-202301").json()["partitions"][0]["from"] == 0


def test_what_kafka_no_longer_has_is_refused_with_the_earliest_that_it_has(read: Any) -> None:
    admin = AdminClient({"bootstrap.servers": read.kafka.bootstrap})
    place = TopicPartition(read.topic, 1, 8)
    admin.delete_records([place])[place].result(30)
    refused = ask(read, fromOffset=7, partition=1)
    assert refused.status_code == 409
    assert refused.json()["error"] == "Kafka no longer has offset 7 of partition 1"
    assert "The earliest is 8;" in refused.json()["remedy"]
    assert stands(read) == (RECORDS, RECORDS)
    assert ask(read, since="2020-01-01T00:00:00Z").json()["partitions"][0]["from"] == 8
    assert ask(read, fromOffset=8, partition=1).status_code == 409
    assert stands(read) == (8, RECORDS)


def test_what_is_not_read_yet_needs_no_replay(read: Any) -> None:
    for request in ({"fromOffset": RECORDS}, {"fromOffset": 0, "partition": 2}):
        refused = ask(read, **request)
        assert refused.status_code == 409
        assert "partition 1 stands at 20" in refused.json()["error"]


def test_it_is_written_down_for_good(read: Any) -> None:
    assert ask(read, fromOffset=0).status_code == 200
    with read.ledger() as ledger:
        for change in ("UPDATE fleetmeter.replay SET actor = 'x'", "DELETE FROM fleetmeter.replay"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                ledger.execute(change.encode())
    with read.ledger("api") as ledger, pytest.raises(psycopg.errors.InsufficientPrivilege):
        ledger.execute("UPDATE fleetmeter.partition_offset SET counted_offset = 0")
