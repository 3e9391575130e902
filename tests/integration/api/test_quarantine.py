"""The quarantine through the API and the command: shown, resolved once, by name, one or many."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from fleetmeter_rules.event_time import Quality, Resolved, TimeMethod
from fleetmeter_rules.identity import epoch_sequence, packed_key
from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.time_evidence import pack
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import Decoded
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.ledger import events, quarantine, registry
from fleetmeter_workers.ledger.events import SET_ASIDE, EventRow
from fleetmeter_workers.ledger.quarantine import QuarantineRow

_AT = datetime(2023, 1, 12, 12, tzinfo=UTC)
_SLOW = Resolved(_AT, timedelta(0), TimeMethod.SENT_AT, Quality.CORRECTED, offset=timedelta(hours=1))


@pytest.fixture
def region(region):
    region["spec"]["calendar"] = {"timeZone": "Europe/Paris", "firstPeriod": "2023-01-01"}
    region["spec"]["backfill"] = None
    return region


def _set_aside(api, count: int) -> list[int]:
    """Messages of a device that nobody has registered, as the consumer keeps them."""
    headers = Headers("json", "mqtt", "test", to_micros(_AT), "uplink/json", None, None, None)
    pairs = {name: value.decode() for name, value in encode_headers(headers)}
    with api.ledger() as connection:
        device = registry.sight_devices(connection, ["found-1"])["found-1"]
        metric = registry.metric_ids(connection, [("messages", "Delta", "message")])["messages"]
        rows = []
        for sequence in range(count):
            raw = json.dumps({"device": "found-1", "epoch": "1", "seq": sequence}).encode()
            packed = packed_key(device.device_id, epoch_sequence("found-1", "1", sequence))
            content = decode("json", raw)
            assert isinstance(content, Decoded)
            events.merge(
                connection,
                [
                    EventRow(
                        key=packed.key,
                        event_at=_AT,
                        received_at=_AT,
                        fingerprint=content.items[0].fingerprint,
                        device_id=device.device_id,
                        period_id=None,
                        uncertainty=0,
                        metric_id=metric,
                        verdict=SET_ASIDE,
                        time_method=0,
                        revision=1,
                        late=False,
                        quantity=content.items[0].quantity,
                        canonical=packed.canonical or b"",
                        evidence=pack(_SLOW),
                    )
                ],
            )
            rows.append(
                QuarantineRow(
                    topic_id=UUID(int=1),
                    partition=0,
                    record_offset=sequence,
                    item=0,
                    received_at=_AT,
                    reason="unknown_device",
                    detail="the device is not registered",
                    adapter="json",
                    topic="uplink/json",
                    headers=pairs,
                    raw=raw,
                    event_key=packed.key,
                    device_id=device.device_id,
                )
            )
        quarantine.add(connection, rows)
        found = connection.execute("SELECT quarantine_id FROM fleetmeter.quarantine ORDER BY 1").fetchall()
    return [number for (number,) in found]


def _sign(api) -> None:
    contract = {
        "contract": "acme-1",
        "customer": {"code": "acme", "name": "Acme", "address": ["Road 1"]},
        "plan": "standard",
        "validFrom": "2023-01-01",
    }
    (api.contracts / "a.yaml").write_text(yaml.safe_dump(contract))
    api.await_contracts(loaded=1)


def _register(api) -> None:
    answer = api.post("/v1/devices", json.dumps({"uid": "found-1", "customer": "acme", "alias": "hall"}))
    assert answer.status_code == 200, answer.text


def _run(api, *arguments: str, role: str = "operator", text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from fleetmeter_cli.main import app; app()", "--api", api.worker.url]
    return subprocess.run(
        [*command, "quarantine", *arguments],
        env={**os.environ, "FLEETMETER_TOKEN": f"{role}-token", "COLUMNS": "160"},
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_row_shows_what_it_says_and_where_it_would_be_billed(api) -> None:
    first, _ = _set_aside(api, 2)
    _sign(api)
    found = api.get(f"/v1/quarantine/{first}", role="operator").json()
    assert found["reason"] == "unknown_device"
    assert found["raw"]["text"] == '{"device": "found-1", "epoch": "1", "seq": 0}'
    assert bytes.fromhex(found["raw"]["hex"]).decode() == found["raw"]["text"]
    assert found["content"]["device"] == "found-1"
    assert found["content"]["items"] == [
        {"metric": "messages", "kind": "Delta", "quantity": "1", "chosen": True}
    ]
    assert (found["isCertain"], found["timeEvidence"]) == (
        True,
        {"quality": "corrected", "flags": ["clock_behind"]},
    )
    shown = " ".join(_run(api, "show", str(first)).stdout.split())
    assert "Happened 2023-01-12T12:00:00Z, corrected; clock behind" in shown
    (candidate,) = found["candidates"]
    assert (candidate["eventAt"], candidate["customer"], candidate["plan"]) == (
        "2023-01-12T12:00:00Z",
        None,
        None,
    )
    _register(api)
    (candidate,) = api.get(f"/v1/quarantine/{first}", role="operator").json()["candidates"]
    assert (candidate["contract"], candidate["billingPeriod"], candidate["isFinal"]) == (
        "acme-1",
        "eu-202301",
        False,
    )
    assert api.get(f"/v1/quarantine/{first}", role="reader").status_code == 403
    assert api.get("/v1/quarantine/99", role="operator").status_code == 404
    assert api.get("/v1/quarantine/x", role="operator").status_code == 404


def test_a_row_is_resolved_once_and_by_name(api) -> None:
    first, second = _set_aside(api, 2)
    _sign(api)
    path = f"/v1/quarantine/{first}/resolve"
    assert api.post(path, '{"resolution": "bill-next"}', role="reader").status_code == 403
    early = api.post(path, '{"resolution": "bill-next"}')
    assert (early.status_code, early.json()["error"]) == (409, "the device is not registered")
    for body in ("", "{}", '{"resolution": "forget"}', '{"resolution": "credit", "more": 1}'):
        assert api.post(path, body).status_code == 400, body
    _register(api)
    done = api.post(path, '{"resolution": "bill-next", "note": "found in the attic"}').json()
    assert (done["resolution"], done["resolvedBy"], done["note"]) == (
        "billed_next",
        "operator-name",
        "found in the attic",
    )
    assert (done["billedIn"], done["invoice"]) == ("eu-202301", None)
    again = api.post(path, '{"resolution": "write-off"}')
    assert again.status_code == 409
    assert (
        f"was resolved as billed_next by operator-name at {done['resolvedAt'][:19]}" in again.json()["error"]
    )
    listed = api.get("/v1/quarantine").json()
    assert ([each["id"] for each in listed["quarantine"]], listed["counts"]) == (
        [second],
        {"unknown_device": 1},
    )
    both = api.get("/v1/quarantine", resolved="true", device="hall").json()["quarantine"]
    assert [each["resolvedBy"] for each in both] == ["operator-name", None]
    assert api.get("/v1/quarantine", device="other").json()["quarantine"] == []
    assert api.get("/v1/usage").json()["usage"][0]["quantity"] == "1"


def test_the_command_resolves_one_and_many(api, tmp_path: Path) -> None:
    numbers = _set_aside(api, 5)
    _sign(api)
    plan = Path(__file__).parents[3] / "examples" / "demo" / "plans.yaml"
    shown = _run(api, "show", str(numbers[0]))
    assert "nobody's" in shown.stdout, shown
    _register(api)
    named = json.loads(json.dumps(yaml.safe_load(plan.read_text().split("---")[0])))
    named["metadata"]["name"] = "standard"
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(named))
    shown = _run(api, "show", str(numbers[0]), "--plan", str(file))
    for words in ("unknown_device: the device is not registered", "1 messages", "eu-202301", "EUR"):
        assert words in shown.stdout, shown
    one = _run(api, "resolve", "write-off", str(numbers[0]), "--note", "test message")
    assert f"Row {numbers[0]} is written off by operator-name." in one.stdout, one
    twice = _run(api, "resolve", "bill-next", str(numbers[0]))
    assert (twice.returncode, "was resolved as written_off by operator-name" in twice.stderr) == (1, True)
    vague = _run(api, "resolve", "bill-next", "--all")
    assert (vague.returncode, "Which rows?" in vague.stderr) == (2, True)
    wish = ("resolve", "bill-next", "--reason", "unknown_device", "--device", "hall", "--all")
    asked = _run(api, *wish, text="n\n")
    assert (asked.returncode, "This bills 4 rows" in asked.stdout) == (1, True), asked
    assert api.get("/v1/quarantine").json()["counts"] == {"unknown_device": 4}
    done = _run(api, *wish, text="y\n")
    assert (done.returncode, "4 rows resolved as bill-next." in done.stdout) == (0, True), done
    assert "No such row waits." in _run(api, *wish).stdout
    assert "billed next by operator-name" in _run(api, "list", "--resolved").stdout
    partly = _run(api, "resolve", "duplicate", str(numbers[0]), str(numbers[1]), "--yes")
    assert (partly.returncode, "2 of 2 rows stay as they are" in partly.stderr) == (1, True), partly
