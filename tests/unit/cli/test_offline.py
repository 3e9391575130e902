"""The commands that need no region: plans, prices and contracts from files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from fleetmeter_cli.main import app

_CHARGES: list[dict[str, Any]] = [
    {
        "name": "messages",
        "description": "Device messages",
        "metric": "messages",
        "model": "Graduated",
        "tiers": [{"upTo": "1000", "unitPrice": "0.01"}, {"unitPrice": "0.008255"}],
    }
]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def _plan(
    path: Path, charges: list[dict[str, Any]] | None = None, name: str = "standard", **spec: Any
) -> Path:
    version = {"version": "1", "effectiveFrom": "2023-01-01T00:00:00Z", "charges": charges or _CHARGES}
    document = {
        "apiVersion": "fleetmeter.io/v1alpha1",
        "kind": "PricingPlan",
        "metadata": {"name": name},
        "spec": {"currency": "EUR", "versions": [version]} | spec,
    }
    with path.open("a") as file:
        yaml.safe_dump_all([document], file, explicit_start=True)
    return path


def _contract(path: Path, code: str, customer: str, **changes: Any) -> Path:
    document: dict[str, Any] = {
        "contract": code,
        "customer": {"code": customer, "name": customer, "address": ["Road 1"]},
        "plan": "standard",
        "validFrom": "2023-01-01",
    }
    path.write_text(yaml.safe_dump(document | changes))
    return path


def test_price_shows_the_steps_and_rounds_once(tmp_path: Path) -> None:
    done = _run("price", _plan(tmp_path / "plan.yaml"), "--metric", "messages", "--quantity", "1835")
    assert done.exit_code == 0, done.output
    assert "Device messages (Graduated)" in done.stdout
    assert "1,000 × 0.01" in done.stdout
    assert "835 × 0.008255" in done.stdout
    assert "exactly 16.892925, rounded once" in done.stdout
    assert "16.89 EUR" in done.stdout


def test_price_as_json_is_decimal_strings(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "plan.yaml")
    done = _run("price", plan, "--metric", "messages", "--quantity", "0.5", "-o", "json")
    answer = json.loads(done.stdout)
    assert answer["total"] == "0.01"  # half a cent, away from zero
    assert answer["lines"][0]["exact"] == "0.005"
    assert answer["lines"][0]["tiers"] == [
        {
            "from": "0",
            "upTo": "1000",
            "quantity": "0.5",
            "unitPrice": "0.01",
            "flatFee": "0",
            "amount": "0.005",
        }
    ]


@pytest.mark.parametrize(("currency", "total"), [("JPY", "184"), ("KWD", "183.500")])
def test_price_has_the_currencys_decimals(tmp_path: Path, currency: str, total: str) -> None:
    charges = [{"name": "m", "metric": "messages", "model": "PerUnit", "unitPrice": "0.1"}]
    plan = _plan(tmp_path / "plan.yaml", charges, currency=currency)
    done = _run("price", plan, "--metric", "messages", "--quantity", "1835", "-o", "json")
    assert json.loads(done.stdout)["total"] == total


def test_price_counts_devices_where_asked(tmp_path: Path) -> None:
    device = {
        "name": "d",
        "metric": "messages",
        "measure": "ActiveDevices",
        "model": "PerUnit",
        "unitPrice": "2",
    }
    plan = _plan(tmp_path / "plan.yaml", [*_CHARGES, device])
    without = _run("price", plan, "--metric", "messages", "--quantity", "10", "-o", "json")
    assert "--devices" in without.stderr
    assert json.loads(without.stdout)["total"] == "0.10"
    done = _run("price", plan, "--metric", "messages", "--quantity", "10", "--devices", "3", "-o", "json")
    assert json.loads(done.stdout)["total"] == "6.10"


@pytest.mark.parametrize("quantity", ["NaN", "-1", "1e99", "Infinity", "", "12345678901"])
def test_price_refuses_what_no_invoice_can_hold(tmp_path: Path, quantity: str) -> None:
    plan = _plan(tmp_path / "plan.yaml")
    done = _run("price", plan, "--metric", "messages", f"--quantity={quantity}")
    assert done.exit_code == 2
    assert "error: --quantity" in done.stderr
    assert "remedy:" in done.stderr


def test_price_names_what_there_is(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "plan.yaml")
    metric = _run("price", plan, "--metric", "other", "--quantity", "1")
    assert (metric.exit_code, "It prices: messages." in metric.stderr) == (1, True)
    version = _run("price", plan, "--metric", "messages", "--quantity", "1", "--version", "9")
    assert (version.exit_code, "It has: 1." in version.stderr) == (1, True)
    _plan(plan, name="second")
    several = _run("price", plan, "--metric", "messages", "--quantity", "1")
    assert (several.exit_code, "standard, second" in several.stderr) == (1, True)
    assert _run("price", plan, "--metric", "messages", "--quantity", "1", "--plan", "second").exit_code == 0


def test_plans_check_warns_of_the_cliff_and_says_where_it_ends(tmp_path: Path) -> None:
    tiers = [{"upTo": "1000", "unitPrice": "0.01"}, {"unitPrice": "0.008"}]
    charges = [{"name": "bulk", "metric": "messages", "model": "Volume", "tiers": tiers}]
    plan = _plan(tmp_path / "plan.yaml", charges)
    done = _run("plans", "check", plan)
    assert done.exit_code == 0
    assert "1,000 cost 10.00 EUR, just over it 8.00 EUR, and less until 1,250" in " ".join(
        done.stdout.split()
    )
    assert _run("plans", "check", plan, "--strict").exit_code == 1


def test_plans_check_names_the_field_that_is_wrong(tmp_path: Path) -> None:
    tiers = [{"upTo": "1000", "unitPrice": 0.01}, {"unitPrice": "0.008"}]
    charges = [{"name": "bulk", "metric": "messages", "model": "Volume", "tiers": tiers}]
    done = _run("plans", "check", _plan(tmp_path / "plan.yaml", charges))
    assert done.exit_code == 1
    assert "charges.0.tiers.0.unitPrice" in done.stdout
    unknown = _run("plans", "check", _plan(tmp_path / "other.yaml", currency="XYZ"))
    assert unknown.exit_code == 1
    assert "spec.currency" in unknown.stdout


def test_plans_check_refuses_files_without_plans(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text("kind: Pod")
    (tmp_path / "broken.yaml").write_text("a: [")
    assert "no PricingPlan" in _run("plans", "check", tmp_path / "pod.yaml").stderr
    broken = _run("plans", "check", tmp_path / "broken.yaml")
    assert (broken.exit_code, "not YAML at line 1" in broken.stderr) == (1, True)
    assert _run("plans", "check", tmp_path / "missing.yaml").exit_code == 1


def test_contracts_check_takes_good_files_and_names_bad_ones(tmp_path: Path) -> None:
    _contract(tmp_path / "a.yaml", "acme-1", "acme", validTo="2023-07-01")
    _contract(tmp_path / "b.yaml", "acme-2", "acme", validFrom="2023-07-01")
    done = _run("contracts", "check", tmp_path)
    assert done.exit_code == 0
    assert "2 of 2 files would be taken." in done.stdout
    _contract(tmp_path / "c.yaml", "acme-3", "acme", validFrom="2024-01-01")
    _contract(tmp_path / "d.yaml", "acme-1", "beta")
    _contract(tmp_path / "e.yaml", "gamma-1", "gamma", discount="1")
    (tmp_path / "f.yaml").write_text("contract: [")
    bad = _run("contracts", "check", tmp_path)
    assert bad.exit_code == 1
    assert "2 of 6 files would be taken." in bad.stdout
    for words in ("end one first", "same code", "discount: no such field", "not YAML at line"):
        assert words in bad.stdout


@pytest.mark.parametrize(
    "command",
    [["invoices", "list"], ["usage"], ["devices", "list"], ["backfill", "status"], ["contracts", "list"]],
)
def test_a_region_must_be_named_and_a_token_given(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLEETMETER_API", "FLEETMETER_REGION", "FLEETMETER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    nowhere = _run(*command)
    assert (nowhere.exit_code, "No region is named" in nowhere.stderr) == (2, True)
    silent = _run("--api", "http://127.0.0.1:1", *command)
    assert (silent.exit_code, "bearer token" in silent.stderr) == (2, True)
    monkeypatch.setenv("FLEETMETER_TOKEN", "secret-token")
    away = _run("--api", "http://127.0.0.1:1", *command)
    assert (away.exit_code, "does not answer" in away.stderr) == (69, True)
    assert "secret-token" not in away.output


def test_every_command_has_an_example() -> None:
    commands = [
        ("invoices", "list"),
        ("invoices", "show"),
        ("invoices", "save"),
        ("usage",),
        ("devices", "import"),
        ("devices", "list"),
        ("backfill", "status"),
        ("backfill", "complete"),
        ("backfill", "revert"),
        ("quarantine", "list"),
        ("contracts", "list"),
        ("contracts", "check"),
        ("plans", "check"),
        ("price",),
    ]
    for command in commands:
        text = _run(*command, "--help").stdout
        assert "Example: fleetmeter" in text, command
