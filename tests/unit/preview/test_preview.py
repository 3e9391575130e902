"""Preview: the command, its outputs, and what it says about files that it can't use."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from fleetmeter_cli.preview import preview

EXAMPLES = Path(__file__).parents[3] / "examples"
PLAN = """
kind: PricingPlan
metadata: {name: simple}
spec:
  currency: EUR
  versions:
    - version: "1"
      effectiveFrom: "2026-01-01T00:00:00Z"
      charges:
        - {name: msg, metric: messages, model: PerUnit, unitPrice: "0.005"}
        - {name: dev, metric: messages, measure: ActiveDevices, model: PerUnit, unitPrice: "2"}
"""
APP = typer.Typer()
APP.command()(preview)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def document(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    lines = [
        {"device": "a", "epoch": 1, "seq": 1, "_timestamp": 1772323200000},
        {"device": "a", "epoch": 1, "seq": 1, "_timestamp": 1772323260000},
        {"device": "b", "epoch": 1, "seq": 1, "_timestamp": 1772323260500},
        {"device": "b", "epoch": 1, "seq": 2, "items": "x", "_timestamp": 1772323260500},
    ]
    path = tmp_path / "messages.ndjson.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


def test_the_json_output(messages: Path) -> None:
    assert document(messages) == {
        "read": 4,
        "unusable": 1,
        "periods": [
            {
                "customer": "default",
                "metric": "messages",
                "period": "2026-03",
                "events": 2,
                "duplicates": 1,
                "late": 0,
                "quarantined": {},
                "quantity": "2",
            }
        ],
    }


def test_zones_and_anchors(messages: Path) -> None:
    assert document(messages, "--time-zone", "America/New_York")["periods"][0]["period"] == "2026-02"
    assert document(messages, "--anchor-day", 2)["periods"][0]["period"] == "2026-02"


def test_amounts(messages: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    found = document(messages, "--plan", plan)
    assert found["currency"] == "EUR"
    assert [(a["charge"], a["quantity"], a["amount"]) for a in found["amounts"]] == [
        ("msg", "2", "0.01"),
        ("dev", "2", "4.00"),
    ]
    assert "4.00" in run(messages, "--plan", plan).stdout
    plan.write_text(PLAN.replace("2026-01-01", "2027-01-01"))
    late = document(messages, "--plan", plan)["amounts"]
    assert [amount["amount"] for amount in late] == [None]


def test_decisions_name_every_line(messages: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.ndjson"
    assert run(messages, "--decisions", out).exit_code == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(d["line"], d["verdict"], d["reason"]) for d in found] == [
        (1, "billed", None),
        (2, "duplicate", None),
        (3, "billed", None),
        (4, "unusable", "unparseable"),
    ]
    assert found[0] == {
        "line": 1,
        "file": "messages.ndjson.gz",
        "event_id": found[1]["event_id"],
        "device": "a",
        "customer": "default",
        "verdict": "billed",
        "late": False,
        "reason": None,
        "event_time": "2026-03-01T00:00:00Z",
        "method": "received",
        "period": "2026-03",
    }


def test_the_table_is_for_people(messages: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry.ndjson"
    registry.write_text('{"uid": "a", "customer": "acme", "validFrom": "2026-01-01T00:00:00Z"}\n')
    result = run(messages, "--registry", registry)
    assert result.exit_code == 0
    assert "acme" in result.stdout and "1 unknown" in result.stdout
    assert "4 messages read; no usage: 1 unparseable" in result.stdout


METERS = [
    ("a", "2026-02-27T12:00:00+00:00", "energy", "990", "60"),
    ("a", "2026-03-02T12:00:00+00:00", "energy", "15", "61"),
    ("a", "2026-03-03T12:00:00+00:00", "energy", "777", "62"),
    ("a", "2026-03-04T12:00:00+00:00", "energy", "25.5", "63"),
    ("b", "2026-03-01T00:00:00+00:00", "stored", "40", "1"),
    ("b", "2026-03-30T12:00:00+00:00", "stored", "20", "2"),
    ("c", "2026-03-01T00:00:00+00:00", "spent", "1.5", "3"),
    ("c", "2026-03-02T00:00:00+00:00", "spent", "2", "4"),
]
KINDS = ("energy=Cumulative:rollover=1000:sentinel=777", "stored=Gauge:Last")


@pytest.fixture
def meters(tmp_path: Path) -> Path:
    lines = [
        {
            "device": device,
            "epoch": 1,
            "seq": int(seq),
            "eventAt": at,
            "items": [{"metric": metric, "quantity": value}],
            "received": at,
        }
        for device, at, metric, value, seq in METERS
    ]
    path = tmp_path / "meters.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def options(*kinds: str) -> list[str]:
    return ["--received-field", "received", *(part for kind in kinds for part in ("--metric", kind))]


def test_registers_and_levels(meters: Path) -> None:
    found = document(meters, *options(*KINDS))["periods"]
    assert {(each["metric"], each["period"]): (each["events"], each["quantity"]) for each in found} == {
        ("energy", "2026-02"): (1, "0"),
        ("energy", "2026-03"): (3, "35.5"),
        ("stored", "2026-03"): (2, "20"),
        ("spent", "2026-03"): (2, "3.5"),
    }


def test_the_order_of_lines_makes_no_difference(meters: Path) -> None:
    expected = document(meters, *options(*KINDS))
    lines = meters.read_text().splitlines()
    meters.write_text("\n".join([*lines[3:], *lines[:3]]))
    assert document(meters, *options(*KINDS)) == expected
    meters.write_text("\n".join(reversed(lines)))
    assert document(meters, *options(*KINDS)) == expected


def test_registers_are_priced(meters: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.replace("metric: messages", "metric: energy"))
    amounts = document(meters, *options(*KINDS), "--plan", plan)["amounts"]
    assert [(a["period"], a["charge"], a["quantity"], a["amount"]) for a in amounts] == [
        ("2026-02", "msg", "0", "0.00"),
        ("2026-02", "dev", "1", "2.00"),
        ("2026-03", "msg", "35.5", "0.18"),
        ("2026-03", "dev", "1", "2.00"),
    ]


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        ("energy", "write energy=Cumulative"),
        ("=Delta", "write energy=Cumulative"),
        ("energy=Register", "kind"),
        ("energy=Cumulative:modulus=5", "modulus is unknown"),
        ("energy=Cumulative:rollover=0", "rollover must be greater than 0"),
        ("energy=Cumulative:rollover=ten", "rollover"),
        ("energy=Gauge", "aggregation"),
        ("energy=Gauge:Mean", "aggregation"),
        ("energy=Delta:sentinel=5", "sentinels are readings"),
    ],
)
def test_metrics_that_can_not_be_used(messages: Path, metric: str, complaint: str) -> None:
    result = run(messages, "--metric", metric)
    assert result.exit_code == 2
    assert complaint in result.output.replace("\n", " ")


def test_a_region_gives_its_calendar_and_metrics(messages: Path) -> None:
    region = EXAMPLES / "demo" / "region.yaml"
    found = document(messages, "--region", region)
    assert {period["metric"] for period in found["periods"]} == {"messages"}


@pytest.fixture
def late(tmp_path: Path) -> Path:
    """Five messages of January, of which two came on 20 February, one of these twice; and one of February."""
    sent = [("a", 1, "2023-01-10", "2023-01-10"), ("a", 2, "2023-01-31", "2023-02-02")]
    sent += [("b", 3, "2023-01-20", "2023-01-20"), ("a", 4, "2023-02-05", "2023-02-05")]
    sent += [(device, 5, "2023-01-21", "2023-02-20") for device in "acc"]
    lines = [
        {
            "device": device,
            "epoch": 1,
            "seq": seq,
            "eventAt": f"{happened}T12:00:00Z",
            "sentAt": f"{received}T12:00:00Z",
            "_timestamp": f"{received}T12:00:00Z",
        }
        for device, seq, happened, received in sent
    ]
    path = tmp_path / "late.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def by_policy(folder: Path, policy: str) -> list[object]:
    """Options that bill by a region with this policy, and a plan."""
    region, plan = folder / "region.yaml", folder / "plan.yaml"
    text = (EXAMPLES / "demo" / "region.yaml").read_text()
    for old, new in (
        ("policy: Grace", f"policy: {policy}"),
        ("name: lorawan-sensor", "name: default"),
        ("identityMethods: [Lorawan]", "identityMethods: [EpochSequence]"),
        ("maxOfflineSeconds: 604800", "maxOfflineSeconds: 2678400"),
        ("queueHours: 360", "queueHours: 2000"),
    ):
        assert old in text
        text = text.replace(old, new)
    region.write_text(text)
    tiers = 'model: Graduated, tiers: [{upTo: "4", unitPrice: "1"}, {unitPrice: "0.5"}]'
    plan.write_text(PLAN.replace('model: PerUnit, unitPrice: "0.005"', tiers).replace("2026-01", "2020-01"))
    return ["--region", region, "--plan", plan]


def test_deferred_usage_is_billed_where_it_came_and_names_its_month(late: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.ndjson"
    options = [*by_policy(tmp_path, "Defer"), "--decisions", out]
    found = document(late, *options)
    january, february = found["periods"]
    assert (january["events"], january["late"], january["quantity"]) == (3, 1, "3")
    assert not {"deferred", "amended"} & january.keys()
    assert february == {
        "customer": "default",
        "metric": "messages",
        "period": "2023-02",
        "events": 3,
        "duplicates": 1,
        "late": 2,
        "quarantined": {},
        "quantity": "3",
        "deferred": [{"belongs_to": "2023-01", "events": 2, "quantity": "2"}],
    }
    assert [(a["period"], a.get("belongs_to"), a["charge"], a["amount"]) for a in found["amounts"]] == [
        ("2023-01", None, "msg", "3.00"),
        ("2023-01", None, "dev", "4.00"),
        ("2023-02", None, "msg", "1.00"),
        ("2023-02", None, "dev", "2.00"),
        ("2023-02", "2023-01", "msg", "1.50"),
        ("2023-02", "2023-01", "dev", "2.00"),
    ]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(d["verdict"], d["late"], d["period"], d.get("belongs_to")) for d in lines[1::2]] == [
        ("billed", True, "2023-01", None),
        ("billed", False, "2023-02", None),
        ("billed", True, "2023-02", "2023-01"),
    ]
    table = run(late, *options).stdout
    assert "2 of 2023-01" in table and "2023-02, of 2023-01" in table


def test_a_reopened_month_is_amended(late: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.ndjson"
    options = [*by_policy(tmp_path, "Reopen"), "--decisions", out]
    found = document(late, *options)
    january = found["periods"][0]
    assert (january["events"], january["late"], january["amended"]) == (5, 3, 2)
    assert [(a["period"], a["charge"], a["amount"]) for a in found["amounts"]] == [
        ("2023-01", "msg", "4.50"),
        ("2023-01", "dev", "6.00"),
        ("2023-02", "msg", "1.00"),
        ("2023-02", "dev", "2.00"),
    ]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(d["period"], d.get("revision")) for d in lines[:6]] == [
        *([("2023-01", None)] * 3),
        ("2023-02", None),
        *([("2023-01", 2)] * 2),
    ]
    assert "2 amend it" in run(late, *options).stdout


@pytest.mark.parametrize(
    ("name", "content", "option", "complaint"),
    [
        ("registry", "{}", "--registry", "line 1: uid and customer must be text"),
        ("registry", "\n[1]", "--registry", "line 2"),
        ("registry", '{"uid": "a", "customer": "c", "validFrom": "2026-01-01"}', "--registry", "no offset"),
        ("plan", "kind: ConfigMap", "--plan", "holds these plans: none"),
        ("plan", PLAN + "---" + PLAN, "--plan", "--plan-name"),
        ("plan", PLAN.replace('"0.005"', "0.005"), "--plan", "unitPrice"),
        ("plan", PLAN.replace("EUR", "XXX"), "--plan", "ISO 4217"),
        ("plan", "a: [", "--plan", "is no YAML"),
        ("region", "kind: BillingRegion", "--region", "region"),
        ("region", "[]", "--region", "holds 0 BillingRegions"),
    ],
)
def test_files_that_can_not_be_used(
    messages: Path, tmp_path: Path, name: str, content: str, option: str, complaint: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    result = run(messages, option, path)
    assert result.exit_code == 2
    assert complaint in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_options_that_can_not_be_used(messages: Path, tmp_path: Path) -> None:
    assert "IANA" in run(messages, "--time-zone", "Mars/Base").output.replace("\n", " ")
    assert "anchor day 32" in run(messages, "--anchor-day", 32).output.replace("\n", " ")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(messages.read_bytes()[:-12])
    assert run(cut).exit_code == 2
