"""The `fleetmeter` command against a running region."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import yaml

from .conftest import add_invoice, add_period


def _run(api, *arguments: str, role: str = "operator", text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLEETMETER_TOKEN": f"{role}-token", "COLUMNS": "160"}
    command = [sys.executable, "-c", "from fleetmeter_cli.main import app; app()", "--api", api.worker.url]
    return subprocess.run(
        [*command, *arguments],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


LINE = {
    "charge": "messages",
    "description": "Device messages",
    "metric": "messages",
    "unit": "message",
    "model": "PerUnit",
    "measure": "Quantity",
    "quantity": "1835",
    "events": 1835,
    "devices": 1,
    "tiers": [{"from": "0", "upTo": None, "quantity": "1835", "unitPrice": "0.01", "amount": "18.35"}],
    "exact": "18.35",
    "amount": "18.35",
    "byDevice": [{"device": "hut-door", "quantity": "1835", "events": 1835, "amount": "18.35"}],
}


AMENDED = {
    "revision": 2,
    "amends": {"number": "EU-000001", "version": 1, "issueDate": "2023-02-04", "amount": "18.00"},
    "adjustments": [
        LINE
        | {
            "billingPeriod": "eu-202212",
            "contract": "acme-1",
            "invoice": "EU-000000",
            "start": "2022-11-30T23:00:00Z",
            "end": "2022-12-31T23:00:00Z",
            "planVersion": "1",
            "quantity": "12",
            "bookedQuantity": "100",
            "bookedAmount": "1.00",
            "amount": "0.12",
        }
    ],
}


def test_invoices_are_listed_shown_and_saved(api, tmp_path: Path) -> None:
    with api.ledger() as connection:
        period_id = add_period(connection, "acme-1", "acme")
        documents = {
            name: add_invoice(
                connection, period_id, name, total, version=n, events=1835, lines=[LINE], **more
            )
            for n, (name, total, more) in enumerate(
                (("EU-000001", "18.35", {}), ("EU-000002", "0.47", AMENDED)), start=1
            )
        }
    listed = _run(api, "invoices", "list")
    assert "EU-000001" in listed.stdout, listed
    assert "1,835  18.35 EUR" in listed.stdout
    shown = _run(api, "invoices", "show", "EU-000001")
    for words in ("Seller [bold]", "1,835 × 0.01", "hut-door", "Total 18.35 EUR"):
        assert words in shown.stdout
    assert _run(api, "invoices", "show", "EU-000001", "-o", "json").stdout.encode() == documents["EU-000001"]
    target = tmp_path / "out" / "invoices"
    assert "Saved 2 invoices" in _run(api, "invoices", "save", str(target)).stdout
    assert sorted(path.name for path in target.iterdir()) == [
        "EU-000001.html",
        "EU-000001.json",
        "EU-000002.html",
        "EU-000002.json",
    ]
    assert (target / "EU-000002.json").read_bytes() == documents["EU-000002"]
    assert "€18.35 for January 2023" in (target / "EU-000001.html").read_text()
    amended = _run(api, "invoices", "show", "EU-000002").stdout
    for words in (
        "Invoice EU-000002 amends EU-000001",
        "Device messages, late usage of eu-202212",
        "invoiced before, by EU-000000 and later",
        "Charges of EU-000001, credited -18.00 EUR",
        "Difference 0.47 EUR",
    ):
        assert words in amended, amended
    missing = _run(api, "invoices", "show", "EU-999999")
    assert missing.returncode == 1
    assert "remedy:" in missing.stderr


def test_devices_are_imported_with_the_files_line_numbers(api, tmp_path: Path) -> None:
    lines = [json.dumps({"uid": f"dev-{number:05}", "customer": "acme"}) for number in range(6000)]
    lines[5500] = "{broken"
    file = tmp_path / "devices.ndjson"
    file.write_text("\n".join(lines))
    first = _run(api, "devices", "import", str(file))
    assert first.returncode == 1
    assert "6,000 lines: 5,999 new devices, 5,999 owners recorded, 1 refused." in first.stdout
    assert "line 5501:" in first.stderr
    again = _run(api, "devices", "import", "-", text="\n".join(lines[:5000]))
    assert (again.returncode, "0 new devices, 0 owners recorded" in again.stdout) == (0, True)
    assert len(json.loads(_run(api, "devices", "list", "-o", "json").stdout)) == 5999
    assert _run(api, "devices", "list", role="reader").returncode == 1


def test_backfill_contracts_quarantine_and_usage_answer(api) -> None:
    contract = {
        "contract": "acme-1",
        "customer": {"code": "acme", "name": "Acme", "address": ["Road 1"]},
        "plan": "standard",
        "validFrom": "2023-01-01",
    }
    (api.contracts / "a.yaml").write_text(yaml.safe_dump(contract))
    (api.contracts / "b.yaml").write_text("- nothing")
    api.await_contracts(loaded=1, refused=1)
    contracts = _run(api, "contracts", "list")
    assert "acme-1" in contracts.stdout
    assert "refused: file 2" in contracts.stderr
    assert "pending" in _run(api, "backfill", "status").stdout
    assert "is complete" in _run(api, "backfill", "complete").stdout
    assert "completed" in _run(api, "backfill", "status").stdout
    nothing_open = _run(api, "backfill", "complete")
    assert (nothing_open.returncode, "0 backfills are open" in nothing_open.stderr) == (2, True)
    assert _run(api, "backfill", "revert", "20221231-20230228", "--yes").returncode == 1
    assert "Nothing is set aside." in _run(api, "quarantine", "list").stdout
    assert "No usage yet." in _run(api, "usage").stdout


def test_a_region_is_reached_through_kubectl(api, tmp_path: Path, monkeypatch) -> None:
    """A stand-in for kubectl that says what kubectl says; the real one is run on the real cluster."""
    kubectl = tmp_path / "kubectl"
    ended = tmp_path / "ended"
    port = api.worker.port
    kubectl.write_text(
        "#!/bin/sh\n"
        f"trap 'echo ended > {ended}; exit 0' TERM\n"
        f'[ "$*" = "--namespace billing port-forward --address 127.0.0.1 service/eu-api :8080" ] || exit 9\n'
        f"echo 'Forwarding from 127.0.0.1:{port} -> 8080'\n"
        "while :; do sleep 0.05; done\n"
    )
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FLEETMETER_TOKEN": "reader-token"}
    command = [sys.executable, "-c", "from fleetmeter_cli.main import app; app()"]
    done = subprocess.run(
        [*command, "--region", "eu", "--namespace", "billing", "usage"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, "No usage yet." in done.stdout) == (0, True), done
    assert ended.read_text() == "ended\n"
    refused = subprocess.run(
        [*command, "--region", "us", "usage"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (refused.returncode, "service us-api in namespace fleetmeter" in refused.stderr) == (69, True)
