"""Reviews: events in doubt are listed with where they may belong, decided, and taken back."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
import yaml

from fleetmeter_api.region import Region
from fleetmeter_cluster.progress import await_true
from fleetmeter_rules.event_time import Quality, Resolved, TimeMethod
from fleetmeter_rules.identity import epoch_sequence, packed_key
from fleetmeter_rules.time_evidence import NOT_RECORDED, pack
from fleetmeter_workers.ledger import boundaries, contracts, events, periods, registry, usage
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.events import EventRow
from fleetmeter_workers.ledger.periods import PeriodCount
from fleetmeter_workers.ledger.usage import HourSum

# The region's months begin in Paris.
FEBRUARY = datetime(2023, 1, 31, 23, tzinfo=UTC)
MARCH = datetime(2023, 2, 28, 23, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


def _sign(api, **more) -> None:
    contract = {
        "contract": "acme-1",
        "customer": {"code": "acme", "name": "Acme", "address": ["Road 1"]},
        "plan": "standard",
        "validFrom": "2023-01-01",
        **more,
    }
    (api.contracts / "acme.yaml").write_text(yaml.safe_dump(contract))
    api.await_contracts(loaded=1)


def _book(api, sequence: int, at: datetime, minutes: int, evidence: int = NOT_RECORDED) -> str:
    """Book an event of meter-1 as the consumer does, in doubt by so many minutes; its id."""
    with psycopg.connect(api.database.dsn(), autocommit=True) as connection, connection.transaction():
        registry.register(connection, [registry.Registration("meter-1", "acme", "hut-door")], "test")
        device = registry.find_devices(connection, ["meter-1"])["meter-1"].device_id
        metric = registry.metric_ids(connection, [("messages", "Delta", "message")])["messages"]
        region = Region.model_validate(json.loads((api.contracts.parent / "region.json").read_text()))
        match = ContractBook(region, contracts.all_versions(connection)).match("acme", at, at)
        assert match is not None
        periods.ensure(connection, [match.period], registry.customer_ids(connection, ["acme"]))
        own = periods.find(connection, [match.period.key])[match.period.key].period_id
        key = packed_key(device, epoch_sequence("meter-1", "1", sequence)).key
        row = EventRow(
            key=key,
            event_at=at,
            received_at=at,
            fingerprint=bytes(16),
            device_id=device,
            period_id=own,
            uncertainty=60 * minutes,
            metric_id=metric,
            verdict=0,
            time_method=4,
            revision=1,
            late=False,
            quantity=Decimal(1),
            canonical=b"",
            evidence=evidence,
        )
        events.merge(connection, [row])
        if minutes:
            boundaries.add(connection, [(own, key)])
        hour = at.replace(minute=0, second=0, microsecond=0)
        usage.add_hours(connection, {(own, metric, hour): HourSum(1, 0, Decimal(1))})
        periods.add_counts(connection, {own: PeriodCount(events=1, boundary=int(minutes > 0))})
    return str(UUID(bytes=key))


def _command(api, *arguments: str) -> str:
    """What the command says, whether it went well or not."""
    environment = {**os.environ, "FLEETMETER_TOKEN": "operator-token", "COLUMNS": "200"}
    command = [sys.executable, "-c", "from fleetmeter_cli.main import app; app()", "--api", api.worker.url]
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


def _month(api, name: str) -> dict[str, int]:
    found = api.status()["periods"][name]
    return {key: found[key] for key in ("events", "boundaryCandidates", "boundaryUndecided")}


@pytest.fixture
def doubtful(api):
    """An event five minutes before February, one five minutes after, each in doubt by ten minutes, by a clock
    that was an hour behind."""
    _sign(api)
    slow = Resolved(FEBRUARY, 10 * _MINUTE, TimeMethod.SENT_AT, Quality.CORRECTED, offset=timedelta(hours=1))
    return [_book(api, n, FEBRUARY + way * 5 * _MINUTE, 10, pack(slow)) for n, way in ((1, -1), (2, 1))]


def test_an_event_is_listed_with_both_periods_that_it_may_belong_to(api, doubtful) -> None:
    found = api.get("/v1/reviews", billingPeriod="eu-202301").json()
    assert (found["candidates"], found["undecided"], found["next"]) == (1, 1, None)
    (event,) = found["events"]
    assert event == {
        "id": doubtful[0],
        "device": "hut-door",
        "reference": "hut-door:epoch:1:1",
        "contract": "acme-1",
        "eventAt": "2023-01-31T22:55:00Z",
        "uncertaintySeconds": 600,
        "method": "device",
        "evidence": {"quality": "corrected", "flags": ["clock_behind"]},
        "metric": "messages",
        "quantity": "1",
        "billingPeriod": "eu-202301",
        "start": "2022-12-31T23:00:00Z",
        "end": "2023-01-31T23:00:00Z",
        "neighbours": [
            {
                "edge": "next",
                "billingPeriod": "eu-202302",
                "start": "2023-01-31T23:00:00Z",
                "end": "2023-02-28T23:00:00Z",
            }
        ],
        "decision": None,
        "history": [],
    }
    assert _month(api, "eu-202301") == {"events": 1, "boundaryCandidates": 1, "boundaryUndecided": 1}
    assert api.get("/v1/reviews").status_code == 400
    assert api.get("/v1/reviews", billingPeriod="eu-202301", after="x").status_code == 400


def test_pages_hold_every_event_once(api) -> None:
    _sign(api)
    ids = [_book(api, n, FEBRUARY + n * _MINUTE, 30) for n in range(1, 6)]
    seen: list[str] = []
    after = ""
    while after is not None:
        page = api.get("/v1/reviews", billingPeriod="eu-202302", limit="2", after=after).json()
        seen += [each["id"] for each in page["events"]]
        after = page["next"]
    assert seen == ids


def test_the_commands_list_accept_and_move(api, doubtful) -> None:
    listed = _command(api, "review", "list", "--billing-period", "eu-202302")
    assert listed.startswith("0\neu-202302: 1 events in doubt, 1 undecided.")
    for text in (
        f"{doubtful[1]} hut-door",
        "2023-01-31 23:05",
        "10 min, device: corrected; clock behind",
        "eu-202301",
    ):
        assert text in listed
    assert "Decision" not in listed
    moved = _command(api, "review", "move", "--period", "eu-202302", doubtful[1])
    assert moved == "0\n1 events moved; 0 are undecided.\n"
    again = _command(api, "review", "move", "--period", "eu-202302", doubtful[1])
    assert again == "0\n0 events moved (1 had been before); 0 are undecided.\n"
    assert _month(api, "eu-202301") == {"events": 2, "boundaryCandidates": 1, "boundaryUndecided": 1}
    assert _month(api, "eu-202302") == {"events": 0, "boundaryCandidates": 1, "boundaryUndecided": 0}
    shown = _command(api, "review", "list", "--period", "eu-202302", "--decided").splitlines()
    assert [doubtful[1], "moved", "to", "eu-202301", "operator-name"] == shown[-1].split()[:5]
    accepted = _command(api, "review", "accept", "--period", "eu-202301", "--all")
    assert accepted == "0\n1 events accepted as booked; 0 are undecided.\n"
    assert _command(api, "review", "accept", "--period", "eu-202301").startswith("2\n")
    refused = _command(api, "review", "accept", "--period", "eu-202302", doubtful[1])
    assert refused.startswith("1\n")
    assert "was moved by operator-name already" in refused
    months = api.get("/v1/usage").json()["usage"]
    assert [(each["billingPeriod"], each["events"]) for each in months] == [("eu-202301", 2)]


def test_what_cannot_be_moved_is_refused_with_the_reason(api, doubtful) -> None:
    wide = _book(api, 9, FEBRUARY + timedelta(days=14), 60 * 24 * 20)

    def refusal(*events: str, **more: str) -> str:
        answer = api.post(
            "/v1/reviews/move", json.dumps({"billingPeriod": "eu-202302", **more, "events": events})
        )
        assert answer.status_code in (404, 409), answer.text
        assert answer.json()["remedy"]
        return answer.json()["error"]

    assert "either neighbour" in refusal(wide)
    assert "does not reach it" in refusal(doubtful[1], to="next")
    assert "no event in doubt" in refusal(doubtful[0])
    with psycopg.connect(api.database.dsn(), autocommit=True) as connection:
        connection.execute(
            "UPDATE fleetmeter.contract_period SET phase = 'final', sealed_at = now() "
            "WHERE billing_period = 'eu-202301'"
        )
    assert "late usage there" in refusal(wide, to="previous")
    assert "eu-202301 of contract acme-1 is final" in refusal(doubtful[1])
    assert _month(api, "eu-202302") == {"events": 2, "boundaryCandidates": 2, "boundaryUndecided": 2}
    done = api.post(
        "/v1/reviews/move", json.dumps({"billingPeriod": "eu-202302", "events": [wide], "to": "next"})
    )
    assert done.json() == {"decided": 1, "unchanged": 0, "undecided": 1}
    assert _month(api, "eu-202303")["events"] == 1


def test_a_decision_is_taken_back_and_both_stay_in_the_history(api, doubtful) -> None:
    month = ("review", "undo", "--period", "eu-202302", doubtful[1])
    before = _month(api, "eu-202301"), _month(api, "eu-202302")
    nothing = _command(api, *month)
    assert nothing.startswith("1\n")
    assert "nothing was decided about hut-door:epoch:1:2" in nothing
    _command(api, "review", "move", "--period", "eu-202302", doubtful[1])
    assert _command(api, *month) == "0\n1 decisions taken back; 1 are undecided.\n"
    assert (_month(api, "eu-202301"), _month(api, "eu-202302")) == before
    again = _command(api, *month)
    assert again == "0\n0 decisions taken back (1 had been before); 1 are undecided.\n"
    assert _command(api, *month[:-1]).startswith("2\n")
    assert api.post("/v1/reviews/undo", json.dumps({"billingPeriod": "eu-202302", "events": []})).json() == {
        "error": "no event is named",
        "remedy": "Take ids from `fleetmeter review list --decided`.",
    }
    _command(api, "review", "accept", "--period", "eu-202302", doubtful[1])
    (event,) = api.get("/v1/reviews", billingPeriod="eu-202302", decided="true").json()["events"]
    assert [(each["decision"], each["movedTo"], each["actor"]) for each in event["history"]] == [
        ("moved", "eu-202301", "operator-name"),
        ("undone", None, "operator-name"),
        ("accepted", None, "operator-name"),
    ]
    assert event["decision"] == event["history"][-1]
    shown = _command(api, "review", "list", "--period", "eu-202302", "--decided").splitlines()
    for line, step in zip(shown[-3:], event["history"], strict=True):
        assert line.split()[1] == step["decision"]
        assert step["decidedAt"][:16].replace("T", " ") in line


def test_nothing_is_taken_back_once_a_period_is_final(api, doubtful) -> None:
    _command(api, "review", "move", "--period", "eu-202302", doubtful[1])
    with psycopg.connect(api.database.dsn(), autocommit=True) as connection:
        connection.execute(
            "UPDATE fleetmeter.contract_period SET phase = 'final', sealed_at = now() "
            "WHERE billing_period = 'eu-202301'"
        )
    refused = _command(api, "review", "undo", "--period", "eu-202302", doubtful[1])
    assert refused.startswith("1\n")
    for text in ("eu-202301 of contract acme-1 is final", "fleetmeter invoices list"):
        assert text in refused
    (event,) = api.get("/v1/reviews", billingPeriod="eu-202302", decided="true").json()["events"]
    assert [each["decision"] for each in event["history"]] == ["moved"]


def test_evidence_of_a_newer_consumer_stops_no_list(api) -> None:
    _sign(api)
    _book(api, 1, FEBRUARY - _MINUTE, 10, 7)
    (event,) = api.get("/v1/reviews", billingPeriod="eu-202301").json()["events"]
    assert event["evidence"] == {"quality": None, "flags": []}
    assert "10 min, device: unknown" in _command(api, "review", "list", "--period", "eu-202301")


def test_a_reader_decides_nothing(api, doubtful) -> None:
    for path in ("accept", "move", "undo"):
        answer = api.post(f"/v1/reviews/{path}", json.dumps({"billingPeriod": "eu-202301"}), role="reader")
        assert answer.status_code == 403
    assert api.post("/v1/reviews/accept", "{}").status_code == 400


class TestAtTheEdgeOfASeal:
    """Periods past their cut-off and read to their end, so that nothing but a person is waited for."""

    @pytest.fixture
    def region(self, region):
        del region["spec"]["backfill"]
        return region

    def test_the_status_says_what_is_waited_for_and_how_to_look(self, api) -> None:
        _sign(api, boundaryReviewThreshold=0)
        one = _book(api, 1, FEBRUARY - _MINUTE, 10)
        held = api.status()["periods"]["eu-202301"]
        assert (held["sealable"], held["waitingFor"]) == (False, "ReviewPending")
        assert "fleetmeter review list --billing-period eu-202301" in held["message"]
        assert api.status()["periods"]["eu-202302"]["sealable"]
        api.post("/v1/reviews/accept", json.dumps({"billingPeriod": "eu-202301", "events": [one]}))
        assert api.status()["periods"]["eu-202301"]["sealable"]

    def test_a_contract_that_waits_stops_no_other_one(self, api) -> None:
        """While another contract's period is unsealed, or not begun, there is something to close."""
        other = {
            "contract": "globex-1",
            "customer": {"code": "globex", "name": "Globex", "address": ["Road 2"]},
            "plan": "standard",
            "validFrom": "2023-01-01",
        }
        (api.contracts / "globex.yaml").write_text(yaml.safe_dump(other))
        contract = {**other, "contract": "acme-1", "boundaryReviewThreshold": 0}
        contract["customer"] = {"code": "acme", "name": "Acme", "address": ["Road 1"]}
        (api.contracts / "acme.yaml").write_text(yaml.safe_dump(contract))
        api.await_contracts(loaded=2)
        _book(api, 1, FEBRUARY - _MINUTE, 10)
        assert api.status()["periods"]["eu-202301"]["sealable"]
        with psycopg.connect(api.database.dsn(), autocommit=True) as connection:
            connection.execute(
                "INSERT INTO fleetmeter.contract_period (contract, customer_id, billing_period, starts_at, "
                "ends_at, cutoff_at, late_usage) SELECT 'globex-1', customer.customer_id, billing_period, "
                "starts_at, ends_at, cutoff_at, late_usage FROM fleetmeter.contract_period, "
                "fleetmeter.customer WHERE code = 'globex'"
            )
            assert api.status()["periods"]["eu-202301"]["sealable"]
            connection.execute(
                "UPDATE fleetmeter.contract_period SET phase = 'final', sealed_at = now() "
                "WHERE contract = 'globex-1'"
            )
        held = api.status()["periods"]["eu-202301"]
        assert (held["sealable"], held["waitingFor"]) == (False, "ReviewPending")

    def test_missing_usage_is_listed_and_taken(self, api) -> None:
        _sign(api, incompleteUsage="Hold")
        for sequence in (1, 2, 5):
            _book(api, sequence, FEBRUARY - timedelta(days=3) + sequence * _MINUTE, 0)
        with psycopg.connect(api.database.dsn(), autocommit=True) as connection:
            registry.register(connection, [registry.Registration("meter-2", "acme", "attic")], "test")
        found = api.get("/v1/completeness", billingPeriod="eu-202301").json()
        (period,) = found["periods"]
        names = ("contract", "counted", "held", "missing", "silentDevices", "incompleteUsage", "waits")
        assert [period[name] for name in names] == ["acme-1", 5, 3, 2, 1, "Hold", True]
        assert [(each["device"], each["summary"]) for each in found["devices"]] == [
            ("hut-door", "counted 5, hold 3, missing 3-4"),
            ("attic", "silent: nothing arrived in the period"),
        ]
        pages = [api.get("/v1/completeness", billingPeriod="eu-202301", limit="1").json()]
        pages.append(
            api.get("/v1/completeness", billingPeriod="eu-202301", limit="1", after=pages[0]["next"]).json()
        )
        assert [each["device"] for page in pages for each in page["devices"]] == ["hut-door", "attic"]
        held = api.status()["periods"]["eu-202301"]
        assert (held["missing"], held["silentDevices"], held["waitingFor"]) == (2, 1, "UsageIncomplete")
        assert "fleetmeter completeness list --billing-period eu-202301" in held["message"]
        shown = _command(api, "completeness", "list", "--billing-period", "eu-202301")
        for text in ("Hold, waits", "hut-door", "missing 3-4", "attic", "silent"):
            assert text in shown
        taken = _command(api, "completeness", "accept", "--billing-period", "eu-202301")
        assert taken == "0\n1 contract periods taken as they are: 2 messages missing, 1 devices silent.\n"
        assert _command(api, "completeness", "accept", "--period", "eu-202301").startswith("0\n0 contract")
        assert api.status()["periods"]["eu-202301"]["sealable"]

    def test_usage_that_arrives_ends_the_wait_by_itself(self, api) -> None:
        """The API looks again at what has ended; nobody has to ask for it."""
        _sign(api, incompleteUsage="Hold")
        for sequence in (1, 3):
            _book(api, sequence, FEBRUARY - timedelta(days=3), 0)
        await_true(lambda: api.status()["periods"]["eu-202301"]["waitingFor"] == "UsageIncomplete", "a look")
        _book(api, 2, FEBRUARY - timedelta(days=3), 0)
        await_true(lambda: api.status()["periods"]["eu-202301"]["sealable"], "another look")
