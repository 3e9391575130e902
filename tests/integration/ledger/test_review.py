"""What a person looks at before a bill goes out: events near an edge, held, decided, billed accordingly."""

import json
import threading
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest

from fleetmeter_workers.close.seal import seal
from fleetmeter_workers.ledger import boundaries, contracts, doubts
from fleetmeter_workers.ledger.database import Connection, connect

from .test_close_race import BLOCKED, book

FEBRUARY = datetime.fromisoformat("2023-02-01T00:00:00Z")
TOLERANCE = timedelta(seconds=300)


def send(line: Any, sequence: int, at: datetime, device: str = "meter-1") -> None:
    """An event by the device's clock alone, so uncertain by the class's tolerance of 300 seconds."""
    event = {"device": device, "epoch": "1", "seq": sequence, "eventAt": at.isoformat()}
    line.send(json.dumps(event).encode(), stated=at + timedelta(seconds=1))


@pytest.fixture
def edge(line: Any) -> Any:
    """Four events around the end of January: the first just outside its tolerance, two in doubt, one in
    February that cannot be in doubt."""
    line.sign(line.contract("c-1", "acme", boundaryReviewThreshold=0))
    line.register(("meter-1", "acme"))
    send(line, 1, FEBRUARY - TOLERANCE - timedelta(microseconds=1))
    send(line, 2, FEBRUARY - TOLERANCE)
    send(line, 3, FEBRUARY + TOLERANCE - timedelta(microseconds=1))
    send(line, 4, FEBRUARY + TOLERANCE)
    line.drain()
    line.complete_backfill()
    return line


def keys(line: Any, billing_period: str) -> list[UUID]:
    """The candidates of a billing period."""
    return [each.event_key for each in boundaries.listed(line.ledger, billing_period)]


def period(line: Any, billing_period: str) -> int:
    """The id of the contract's period."""
    return line.value(
        "SELECT period_id FROM contract_period WHERE contract = 'c-1' AND billing_period = %s", billing_period
    )


def counts(line: Any) -> list[tuple[Any, ...]]:
    """(billing period, events, boundary, reviewed) as counted."""
    return line.rows(
        "SELECT billing_period, events, boundary, reviewed FROM contract_period "
        "JOIN period_count USING (period_id) WHERE boundary > 0 OR events > 0 ORDER BY 1"
    )


def test_half_open_edges_are_counted_on_both_sides(edge: Any) -> None:
    """Of the events around an edge those are in doubt whose uncertainty reaches over it, and no other."""
    assert counts(edge) == [("eu-202301", 2, 1, 0), ("eu-202302", 2, 1, 0)]
    (one,) = boundaries.listed(edge.ledger, "eu-202301")
    assert (one.reference, one.event_at, one.uncertainty) == (
        f"{one.alias}:epoch:1:2",
        FEBRUARY - TOLERANCE,
        TOLERANCE,
    )
    before = edge.contents()
    edge.ledger.execute("UPDATE partition_offset SET next_offset = 0")
    edge.drain()
    assert edge.contents() == before


def test_a_period_over_its_threshold_waits_and_a_decision_releases_it(edge: Any) -> None:
    """The close says what it waits for; accepting leaves the events where they are."""
    status, message = edge.close_period("eu-202301")
    assert status == 75
    assert message.startswith("ReviewPending: 1 events may belong to a neighbouring period; run fleetmeter")
    assert edge.invoices() == []
    assert boundaries.decide(edge.ledger, period(edge, "eu-202301"), None, None, "ann") == 1
    assert boundaries.decide(edge.ledger, period(edge, "eu-202301"), None, None, "bob") == 0
    status, message = edge.close_period("eu-202301")
    assert status == 0, message
    assert [each["events"] for each in edge.invoices()] == [2]
    (decided,) = boundaries.listed(edge.ledger, "eu-202301")
    assert (decided.actor, decided.moved_to) == ("ann", None)
    status, message = edge.close_period("eu-202302")
    assert (status, message.split(":")[0]) == (75, "ReviewPending")


def test_a_moved_event_is_billed_by_its_neighbour_and_by_nobody_else(edge: Any) -> None:
    """Rows stay as they were written; sums, counts, digests and invoices follow the decision."""
    january, february = period(edge, "eu-202301"), period(edge, "eu-202302")
    rows = edge.rows("SELECT * FROM event ORDER BY event_key")
    assert boundaries.decide(edge.ledger, january, keys(edge, "eu-202301"), february, "ann") == 1
    assert edge.rows("SELECT * FROM event ORDER BY event_key") == rows
    assert counts(edge) == [("eu-202301", 1, 1, 1), ("eu-202302", 3, 1, 0)]
    assert boundaries.decide(edge.ledger, february, None, None, "ann") == 1
    for name in ("eu-202301", "eu-202302"):
        status, message = edge.close_period(name)
        assert status == 0, message
    assert [each["events"] for each in edge.invoices()] == [1, 3]
    # A final period is verified against its rows, and a replay finds nothing but copies.
    edge.ledger.execute("UPDATE partition_offset SET next_offset = 0")
    edge.drain()
    assert edge.close_period("eu-202301")[0] == edge.close_period("eu-202302")[0] == 0
    assert len(edge.invoices()) == 2
    monthly = "SELECT billing_period_id, count(*) FROM billing_events GROUP BY 1 ORDER BY 1"
    assert edge.rows(monthly) == [("eu-202301", 1), ("eu-202302", 3)]


def test_whatever_is_decided_rows_sums_and_counts_agree_and_nothing_is_lost(line: Any) -> None:
    """Sixty events near an edge, decided at random, taken back, in parts and again: each is billed once."""
    chance = Random(20230201)
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    for sequence in range(60):
        send(line, sequence, FEBRUARY + timedelta(seconds=chance.uniform(-600, 600)))
    line.drain()
    line.complete_backfill()
    months = {name: period(line, name) for name in ("eu-202301", "eu-202302")}
    other = {months["eu-202301"]: months["eu-202302"], months["eu-202302"]: months["eu-202301"]}
    expected = dict(line.rows("SELECT period_id, count(*)::int FROM event GROUP BY 1"))
    for _ in range(20):
        name = chance.choice(list(months))
        own = boundaries.listed(line.ledger, name, undecided=chance.random() < 0.5)
        chosen = chance.sample(own, min(len(own), 3))
        target = chance.choice([None, other[months[name]]])
        fresh = sum(each.actor is None for each in chosen)
        done = boundaries.decide(
            line.ledger, months[name], [each.event_key for each in chosen], target, "ann"
        )
        assert done == fresh
        if target is not None:
            expected[months[name]] -= done
            expected[target] += done
        back = chance.sample(boundaries.listed(line.ledger, name), 2)
        stood = [each for each in back if each.actor is not None]
        assert boundaries.undo(line.ledger, [each.event_key for each in back], "bob") == len(stood)
        for each in stood:
            if each.moved_to is not None:
                expected[months[name]] += 1
                expected[each.moved_to] -= 1
        decided = "SELECT count(*)::int FROM boundary_decision"
        assert line.value("SELECT sum(reviewed)::int FROM period_count") == line.value(decided)
        for table in ("booked_event", "usage_hour", "period_count"):
            counted = "count(*)::int" if table == "booked_event" else "sum(events)::int"
            found = dict(line.rows(f"SELECT period_id, {counted} FROM {table} GROUP BY 1"))
            assert found == expected, table
        quantity = "SELECT period_id, sum(quantity)::int FROM usage_hour GROUP BY 1"
        assert dict(line.rows(quantity)) == expected
    assert sum(expected.values()) == 60
    assert [line.close_period(name)[0] for name in months] == [0, 0]
    assert [each["events"] for each in line.invoices()] == [expected[each] for each in months.values()]


def test_nothing_moves_into_or_out_of_a_final_period(edge: Any) -> None:
    """The ledger itself refuses, whoever asks."""
    january, february = period(edge, "eu-202301"), period(edge, "eu-202302")
    boundaries.decide(edge.ledger, january, None, None, "ann")
    assert edge.close_period("eu-202301")[0] == 0
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        boundaries.decide(edge.ledger, february, keys(edge, "eu-202302"), january, "ann")
    assert counts(edge) == [("eu-202301", 2, 1, 1), ("eu-202302", 2, 1, 0)]


def test_the_region_api_decides_by_the_function_alone(edge: Any) -> None:
    """Its role can write no decision and no sum by hand; decisions never change."""
    january = period(edge, "eu-202301")
    with psycopg.connect(edge.database.dsn("api"), autocommit=True) as role:
        own: Connection = role
        for statement in (
            "INSERT INTO fleetmeter.boundary_decision (event_key, period_id, actor) "
            "VALUES (gen_random_uuid(), 1, 'x')",
            "INSERT INTO fleetmeter.boundary_history (event_key, period_id, actor) "
            "VALUES (gen_random_uuid(), 1, 'x')",
            "SELECT fleetmeter.move_sums('{}', 1, 2)",
            "UPDATE fleetmeter.period_count SET reviewed = boundary",
            "INSERT INTO fleetmeter.boundary_candidate VALUES (gen_random_uuid(), 1)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(statement.encode())
        assert boundaries.decide(own, january, None, None, "ann") == 1
    for name in ("consumer", "closer"):
        with (
            psycopg.connect(edge.database.dsn(name), autocommit=True) as other,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            boundaries.decide(other, january, None, None, "ann")
        with (
            psycopg.connect(edge.database.dsn(name), autocommit=True) as other,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            boundaries.undo(other, keys(edge, "eu-202301"), "ann")
    for statement in (
        "UPDATE boundary_decision SET actor = 'x'",
        "DELETE FROM boundary_history",
        "TRUNCATE boundary_history",
        "DELETE FROM boundary_candidate",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            edge.ledger.execute(statement.encode())


def test_what_was_accepted_is_taken_back_and_waits_again(edge: Any) -> None:
    """Each step is a row with its name, and the period waits as if nothing had been decided."""
    january, (one,) = period(edge, "eu-202301"), keys(edge, "eu-202301")
    before = counts(edge)
    assert boundaries.undo(edge.ledger, [one], "bob") == 0
    assert boundaries.decide(edge.ledger, january, [one], None, "ann") == 1
    assert boundaries.undo(edge.ledger, [one], "bob") == 1
    assert boundaries.undo(edge.ledger, [one], "bob") == 0
    assert counts(edge) == before
    assert boundaries.undecided_periods(edge.ledger, "eu-202301", None) == [january]
    assert [each.event_key for each in boundaries.listed(edge.ledger, "eu-202301", undecided=True)] == [one]
    status, message = edge.close_period("eu-202301")
    assert (status, message.split(":")[0]) == (75, "ReviewPending")
    assert boundaries.decide(edge.ledger, january, None, None, "eve") == 1
    history = boundaries.history(edge.ledger, [one])[one]
    assert [(each.actor, each.undone) for each in history] == [("ann", False), ("bob", True), ("eve", False)]
    assert [each.at for each in history] == sorted(each.at for each in history)
    assert edge.close_period("eu-202301")[0] == 0


def test_what_was_moved_is_taken_back_with_its_sums(edge: Any) -> None:
    """Both months hold what they held before, row by row, and the invoices say so."""
    january, february = period(edge, "eu-202301"), period(edge, "eu-202302")
    (one,), before, booked = keys(edge, "eu-202301"), edge.contents(), "SELECT * FROM booked_event ORDER BY 3"
    rows, monthly = edge.rows(booked), "SELECT billing_period_id, count(*) FROM billing_events GROUP BY 1"
    assert boundaries.decide(edge.ledger, january, [one], february, "ann") == 1
    assert edge.contents() != before
    assert edge.rows(booked) != rows
    assert boundaries.undo(edge.ledger, [one], "bob") == 1
    assert edge.contents() == before
    assert edge.rows(booked) == rows
    assert edge.rows(f"{monthly} ORDER BY 1") == [("eu-202301", 2), ("eu-202302", 2)]
    status, message = edge.close_period("eu-202301")
    assert (status, message.split(":")[0]) == (75, "ReviewPending")
    for own in (january, february):
        boundaries.decide(edge.ledger, own, None, None, "eve")
    assert [edge.close_period(name)[0] for name in ("eu-202301", "eu-202302")] == [0, 0]
    assert [each["events"] for each in edge.invoices()] == [2, 2]


def test_nothing_is_taken_back_once_either_period_is_final(edge: Any) -> None:
    """The ledger refuses with a sentence; of several decisions then none is taken back."""
    january, february = period(edge, "eu-202301"), period(edge, "eu-202302")
    (one,), (other,) = keys(edge, "eu-202301"), keys(edge, "eu-202302")
    boundaries.decide(edge.ledger, january, [one], None, "ann")
    boundaries.decide(edge.ledger, february, [other], january, "ann")
    assert edge.close_period("eu-202301")[0] == 0
    before = edge.contents()
    for asked in ([one], [other], [one, other]):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as refused:
            boundaries.undo(edge.ledger, asked, "bob")
        said = refused.value.diag.message_primary
        assert said == "eu-202301 of contract c-1 is final, and what its invoice was made of stays"
    assert edge.contents() == before
    assert edge.close_period("eu-202301")[0] == 0


def test_an_event_that_is_credited_stays_where_the_credit_names_it(edge: Any) -> None:
    """Else one month would have the event, and another one its credit."""
    january, february, (one,) = (
        period(edge, "eu-202301"),
        period(edge, "eu-202302"),
        keys(edge, "eu-202301"),
    )
    boundaries.decide(edge.ledger, january, [one], february, "ann")
    edge.ledger.execute("SET session_replication_role = replica")
    edge.ledger.execute(
        "INSERT INTO late_usage (event_at, received_at, quarantine_id, event_key, period_id, "
        "booked_period_id, device_id, metric_id, quantity, mark, canonical) SELECT event_at, received_at, 1, "
        "event_key, %s, %s, device_id, metric_id, -quantity, ':credit', canonical FROM event "
        "WHERE event_key = %s",
        (february, february, one),
    )
    edge.ledger.execute("RESET session_replication_role")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="credited"):
        boundaries.undo(edge.ledger, [one], "bob")
    assert len(boundaries.history(edge.ledger, [one])[one]) == 1


def test_taking_back_waits_for_a_seal_and_is_refused_then(edge: Any, monkeypatch: Any) -> None:
    """The seal has the period: whoever comes meanwhile finds it final."""
    january, (one,) = period(edge, "eu-202301"), keys(edge, "eu-202301")
    boundaries.decide(edge.ledger, january, [one], None, "ann")
    for name, value in edge.environment("closer").items():
        monkeypatch.setenv(name, value)
    refusals: list[str] = []

    def take_back() -> None:
        with psycopg.connect(edge.database.dsn("api"), application_name="undo", autocommit=True) as role:
            try:
                boundaries.undo(role, [one], "bob")
            except psycopg.errors.ObjectNotInPrerequisiteState as error:
                refusals.append(str(error.diag.message_primary))

    with connect("close") as connection, connection.transaction():
        assert seal(connection, book(edge), january) == "EU-000001"
        person = threading.Thread(target=take_back)
        person.start()
        edge.await_true(lambda: edge.value(BLOCKED, "undo") == 1, "the person to wait")
    person.join(60)
    assert refusals == ["eu-202301 of contract c-1 is final, and what its invoice was made of stays"]
    assert len(boundaries.history(edge.ledger, [one])[one]) == 1
    assert edge.close_period("eu-202301")[0] == 0


def test_a_seal_waits_for_taking_back_and_then_for_a_person(edge: Any) -> None:
    """The close found the period ready, but the decision was being taken back: it seals nothing."""
    january, (one,) = period(edge, "eu-202301"), keys(edge, "eu-202301")
    # The close looks at what devices counted only once, and holds the period's row for it.
    assert edge.close_period("eu-202301")[0] == 75
    boundaries.decide(edge.ledger, january, [one], None, "ann")
    with psycopg.connect(edge.database.dsn("api")) as role:
        assert boundaries.undo(role, [one], "bob") == 1
        worker = edge.start("close", "--billing-period", "eu-202301", user="closer")
        edge.await_true(lambda: edge.value(BLOCKED, "fleetmeter-close") == 1, "the seal to wait")
    assert worker.process.wait(60) == 75
    assert "ReviewPending: 1 events may belong" in worker.log.read_text()
    assert edge.invoices() == []
    assert edge.rows("SELECT DISTINCT phase FROM contract_period") == [("open",)]


def test_a_seal_and_a_decision_exclude_each_other(edge: Any) -> None:
    """A decision waits for a seal's lock, and then finds the period as the seal left it."""
    january = period(edge, "eu-202301")
    with (
        psycopg.connect(edge.database.dsn()) as sealing,
        psycopg.connect(edge.database.dsn("api")) as deciding,
    ):
        sealing.execute("SELECT FROM fleetmeter.contract_period WHERE period_id = %s FOR UPDATE", (january,))
        deciding.execute("SELECT set_config('lock_timeout', '1', true)")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            deciding.execute("SELECT fleetmeter.decide_boundary(%s, NULL, NULL, 'ann')", (january,))


def test_a_contracts_later_period_waits_for_its_earlier_one_and_no_other_contracts_does(edge: Any) -> None:
    """The invoices of a contract come in order; a review of one contract holds nobody else's."""
    line = edge
    line.sign(line.contract("c-2", "globex"))
    boundaries.decide(line.ledger, period(line, "eu-202302"), None, None, "ann")
    assert line.close_period("eu-202301")[0] == 75
    status, message = line.close_period("eu-202302")
    assert (status, message) == (
        75,
        "OlderInReview: eu-202301 of the same contract waits for a person first\n",
    )
    rows = line.rows("SELECT billing_period, contract FROM contract_period WHERE phase = 'final' ORDER BY 1")
    assert rows == [("eu-202301", "c-2"), ("eu-202302", "c-2")]
    versions = contracts.all_versions(line.ledger)
    waits = doubts.held(line.ledger, doubts.unsealed(line.ledger), versions)
    assert {name: [each.waiting_for for each in found] for name, found in waits.items()} == {
        "eu-202301": ["ReviewPending"],
        "eu-202302": ["OlderInReview"],
    }
    boundaries.decide(line.ledger, period(line, "eu-202301"), None, None, "ann")
    assert line.close_period("eu-202301")[0] == line.close_period("eu-202302")[0] == 0


def test_only_what_the_contract_does_not_let_pass_waits(edge: Any) -> None:
    """One undecided event is within a threshold of one; without a threshold nothing ever waits."""
    (one,) = [each for each in doubts.unsealed(edge.ledger) if each.billing_period == "eu-202301"]
    assert (one.candidates, one.decided) == (1, 0)
    edge.ledger.execute("UPDATE contract_period SET cutoff_at = now() + interval '1 day'")
    assert doubts.unsealed(edge.ledger) == []
