"""Several gateways: one at a time reads the broker, and what it leaves undone the next one does."""

import json
from typing import Any

import psycopg

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.worker import Worker

CONNECTED = "fleetmeter_gateway_mqtt_connected"
GAVE_UP = "another gateway reads the MQTT broker"
TURN = (
    "FROM pg_stat_activity WHERE application_name = 'fleetmeter-gateway-turn' "
    "AND datname = current_database()"
)


def readers(gateways: list[Worker]) -> list[Worker]:
    return [each for each in gateways if each.metrics().get(CONNECTED) == 1]


def publish(site: Any, numbers: range) -> None:
    site.sender("ingest").publish_all(
        "uplink/json", [json.dumps({"n": number}).encode() for number in numbers]
    )


def arrived(site: Any, least: int) -> list[int]:
    return [json.loads(each.value)["n"] for each in site.topic.records(least)]


def start_two(site: Any) -> tuple[Worker, Worker]:
    """Two gateways: the one that reads, and the one that stands by."""
    gateways = [site.start_gateway(FLEETMETER_GATEWAYS="2") for _ in range(2)]
    await_true(lambda: len(readers(gateways)) == 1, "one of them to read", seconds=40)
    (reading,) = readers(gateways)
    (standing_by,) = [each for each in gateways if each is not reading]
    return reading, standing_by


def test_the_other_takes_over_from_one_that_was_killed(site: Any) -> None:
    reading, other = start_two(site)
    publish(site, range(50))
    assert arrived(site, 50) == list(range(50))
    reading.process.kill()
    publish(site, range(50, 100))
    await_true(lambda: readers([other]), "the other to read", seconds=40)
    assert list(dict.fromkeys(arrived(site, 100))) == list(range(100))


def test_one_that_lost_its_lock_leaves_the_broker_to_the_other(site: Any, database: Any) -> None:
    """Without that, each would throw the other out again and again."""
    reading, other = start_two(site)
    with psycopg.connect(database.dsn(), autocommit=True) as session:
        held = f"SELECT pid {TURN} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
        ((holder,),) = session.execute(held.encode()).fetchall()
        waiting = session.execute(f"SELECT pid {TURN} AND pid <> {holder}".encode()).fetchall()
        assert len(waiting) == 1

        # Until the other has it: whoever asks first gets the lock.
        def moved() -> bool:
            found = session.execute(held.encode()).fetchall()
            if found == waiting:
                return True
            for (pid,) in found:
                session.execute("SELECT pg_terminate_backend(%s)", (pid,))
            return False

        await_true(moved, "the other to get the lock", seconds=60)
    await_true(lambda: GAVE_UP in reading.process.log.read_text(), "the one to give up", seconds=40)
    await_true(lambda: readers([reading, other]) == [other], "the other to read", seconds=40)
    publish(site, range(20))
    assert arrived(site, 20) == list(range(20))
    assert readers([reading, other]) == [other]


def test_while_postgres_is_away_the_turn_stays(site: Any, database: Any) -> None:
    reading, other = start_two(site)
    with psycopg.connect(database.server.dsn(), autocommit=True) as session:
        session.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false'.encode())
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database.name]
        )
    for gateway in (reading, other):
        await_true(
            lambda each=gateway: "turn unknown" in each.process.log.read_text(), "it to notice", seconds=40
        )
    publish(site, range(20))
    assert arrived(site, 20) == list(range(20))
    assert readers([reading, other]) == [reading]
    assert reading.ready()
    assert other.ready()
