"""A preview of a file against the invoices of the same messages: late by chance, of every kind of metric."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
import yaml
from typer.testing import CliRunner

from fleetmeter_cli.main import app

START, DAY = datetime(2023, 1, 1, tzinfo=UTC), timedelta(days=1)
MONTHS = [f"eu-20230{month}" for month in range(1, 5)]
METRICS = [
    {"code": "messages", "kind": "Delta", "unit": "message"},
    {"code": "energy", "kind": "Cumulative", "unit": "kW.h"},
    {"code": "rented", "kind": "Gauge", "unit": "GB", "aggregation": "TimeWeighted"},
    {"code": "peak", "kind": "Gauge", "unit": "kW", "aggregation": "Max"},
]
TIERS = [{"upTo": "20", "unitPrice": "0.333", "flatFee": "1"}, {"unitPrice": "0.0125"}]
CHARGES = [
    {"name": "messages", "metric": "messages", "model": "Graduated", "tiers": TIERS},
    {
        "name": "devices",
        "metric": "messages",
        "measure": "ActiveDevices",
        "model": "PerUnit",
        "unitPrice": "2",
    },
    *(
        {"name": code, "metric": code, "model": "PerUnit", "unitPrice": "0.13"}
        for code in ("energy", "rented", "peak")
    ),
]
Bill: TypeAlias = dict[tuple[str, ...], tuple[Decimal, Decimal]]
"""By month, month that it belongs to, and charge: quantity and amount."""


def history(chance: Random) -> list[tuple[bytes, datetime]]:
    """Messages of two months as they were received, up to 40 days late; one in five comes twice."""
    sent: list[tuple[datetime, dict[str, Any]]] = []
    counter = 0
    for sequence, hour in enumerate(sorted(chance.sample(range(59 * 24), 70))):
        happened = START + hour * DAY / 24
        counter = counter + chance.randint(0, 30) if chance.random() > 0.05 else 0
        metric = chance.choice(METRICS)["code"]
        amount = counter if metric == "energy" else chance.randint(1, 40) / 4
        message = {
            "device": "meter-1" if metric == "energy" else f"meter-{chance.randint(1, 3)}",
            "epoch": "1",
            "seq": sequence,
            "eventAt": happened.isoformat(),
            "items": [{"metric": metric, "quantity": str(amount)}],
        }
        delay = chance.choice((0.1, 0.1, 6.0, 40.0)) * chance.random() * DAY
        for again in range(1 + (chance.random() < 0.2)):
            sent.append((happened + delay + again * DAY * chance.random() * 20, message))
    found: list[tuple[bytes, datetime]] = []
    for received, message in sorted(sent, key=lambda each: each[0]):
        stamp = {"sentAt": received.isoformat(), "received": received.isoformat()}
        found.append((json.dumps(message | stamp).encode(), received))
    return found


def previewed(line: Any, folder: Path, messages: list[tuple[bytes, datetime]]) -> dict[str, Any]:
    """What `fleetmeter preview` says of a file of the messages."""
    file, region, plan, registry = (
        folder / name for name in ("m.ndjson", "region.yaml", "plan.yaml", "r.ndjson")
    )
    file.write_bytes(b"\n".join(raw for raw, _ in messages))
    region.write_text(
        yaml.safe_dump({"kind": "BillingRegion", "metadata": {"name": "eu"}, "spec": line.region["spec"]})
    )
    plan.write_text(
        yaml.safe_dump({"kind": "PricingPlan", "metadata": {"name": "fleet"}, "spec": line.plans[0]["spec"]})
    )
    registry.write_text("\n".join(f'{{"uid": "meter-{n}", "customer": "acme"}}' for n in (1, 2, 3)))
    options = {"--region": region, "--plan": plan, "--registry": registry, "--received-field": "received"}
    words = [str(word) for pair in options.items() for word in pair]
    done = CliRunner().invoke(app, ["preview", str(file), *words, "-o", "json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def invoiced(line: Any) -> Bill:
    """What the last version of each month's invoice charges, and what it adjusts."""
    last = {each["period"]["billingPeriod"]: each for each in line.invoices()}
    bill: Bill = defaultdict(lambda: (Decimal(0), Decimal(0)))
    for name, invoice in last.items():
        for entry in (*invoice["lines"], *invoice["adjustments"]):
            key = (name, entry.get("billingPeriod", name), entry["charge"])
            quantity, amount = bill[key]
            bill[key] = (quantity + Decimal(entry["quantity"]), amount + Decimal(entry["amount"]))
    return without_nothing(bill)


def without_nothing(bill: Bill) -> Bill:
    """Months in which nothing happened have lines, too."""
    return {key: numbers for key, numbers in bill.items() if any(numbers)}


@pytest.mark.parametrize("policy", ["Defer", "Reopen"])
def test_a_preview_is_what_the_invoices_say(line: Any, tmp_path: Path, policy: str) -> None:
    line.region["spec"] |= {
        "metrics": METRICS,
        "lateUsage": {"policy": policy, "gracePeriodSeconds": 259_200},
        "deviceClasses": [{"name": "default", "maxOfflineSeconds": 8_640_000}],
        "retention": {"queueHours": 4000},
    }
    line.plans = [line.plan()]
    line.plans[0]["spec"]["versions"][0]["charges"] = CHARGES
    line.sign(line.contract("c-1", "acme"))
    line.register(*((f"meter-{n}", "acme") for n in (1, 2, 3)))
    messages = history(Random(11))
    for raw, received in messages:
        line.send(raw, stated=received)
    line.drain()
    line.complete_backfill()
    for month in MONTHS:
        assert line.close_period(month)[0] == 0
    found = previewed(line, tmp_path, messages)
    names = {f"2023-0{month}": name for month, name in enumerate(MONTHS, start=1)}
    assert invoiced(line) == without_nothing(
        {
            (names[each["period"]], names[each.get("belongs_to", each["period"])], each["charge"]): (
                Decimal(each["quantity"]),
                Decimal(each["amount"]),
            )
            for each in found["amounts"]
        }
    )
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for each in found["periods"]:
        counts = (each["events"], each["duplicates"], each["late"], sum(each["quarantined"].values()))
        whole = counted[names[each["period"]]]
        counted[names[each["period"]]] = [sum(pair) for pair in zip(whole, counts, strict=True)]
    assert counted == {
        name: list(counts)
        for name, *counts in line.rows(
            "SELECT billing_period, events::int, duplicates::int, late::int, quarantined::int "
            "FROM period_count JOIN contract_period USING (period_id) WHERE events + quarantined > 0"
        )
    }
    after = sum(each.get("amended", 0) for each in found["periods"])
    after += sum(one["events"] for each in found["periods"] for one in each.get("deferred", ()))
    assert after > 5
