"""Registers, levels and active devices from Kafka to the invoice: the same bytes in any order of arrival."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fleetmeter_workers.ledger import registry

from ..conftest import fresh_database, fresh_topic
from .conftest import Line, region_document

METRICS = [
    {"code": "energy", "kind": "Cumulative", "unit": "kW.h", "rollover": "1000", "sentinels": ["999"]},
    {"code": "peak", "kind": "Gauge", "unit": "kW", "aggregation": "Max"},
    {"code": "stored", "kind": "Gauge", "unit": "GB", "aggregation": "Last"},
    {"code": "rented", "kind": "Gauge", "unit": "GB", "aggregation": "TimeWeighted"},
    {"code": "messages", "kind": "Delta", "unit": "message"},
]
CHARGES = [
    {"name": "energy", "metric": "energy", "model": "PerUnit", "unitPrice": "1"},
    {"name": "meters", "metric": "energy", "measure": "ActiveDevices", "model": "PerUnit", "unitPrice": "2"},
    {"name": "peak", "metric": "peak", "model": "PerUnit", "unitPrice": "1"},
    {"name": "stored", "metric": "stored", "model": "PerUnit", "unitPrice": "1"},
    {"name": "rented", "metric": "rented", "model": "PerUnit", "unitPrice": "1"},
    {"name": "messages", "metric": "messages", "model": "PerUnit", "unitPrice": "1"},
]
Shown = tuple[str, str, str, str, str]


def plan() -> dict[str, Any]:
    """A plan that charges one a unit of each metric, and two for each active meter."""
    version = {"version": "1", "effectiveFrom": "2020-01-01T00:00:00Z", "charges": CHARGES}
    return {"name": "fleet", "spec": {"currency": "EUR", "versions": [version]}}


def send(line: Any, shown: Iterable[tuple[int, Shown]], lag: timedelta = timedelta(minutes=1)) -> None:
    """Readings as (number, (device, metric, register, instant, value)), received a while later."""
    for number, (device, metric, register, at, value) in shown:
        item = {"metric": metric, "quantity": value} | ({"register": register} if register else {})
        message = {"device": device, "epoch": "1", "seq": number, "eventAt": at, "items": [item]}
        line.send(json.dumps(message).encode(), stated=datetime.fromisoformat(at) + lag)


def invoiced(line: Any, *months: str) -> dict[str, dict[str, str]]:
    """Close the months; what each invoice charges, by contract and month."""
    for month in months:
        status, message = line.close_period(month)
        assert status == 0, message
    found = {
        f"{each['contract']} {each['period']['start'][:10]}": {
            charge["charge"]: charge["quantity"] for charge in each["lines"]
        }
        for each in line.invoices()
    }
    for each in line.invoices():
        for charge in each["lines"]:
            shares = [line.decimal(share["amount"]) for share in charge["byDevice"]]
            assert sum(shares, line.decimal(0)) == line.decimal(charge["amount"])
            if charge["measure"] == "Quantity":
                own = [line.decimal(share["quantity"]) for share in charge["byDevice"]]
                assert sum(own, line.decimal(0)) == line.decimal(charge["quantity"])
    return found


def set_up(line: Any, **contract: Any) -> None:
    """A customer with a meter, a sensor and a plan that charges everything."""
    line.region["spec"]["metrics"] = METRICS
    line.plans = [plan()]
    line.sign(line.contract("c-1", "acme", **contract))
    line.register(("meter-1", "acme"), ("meter-2", "acme"), ("sensor-1", "acme"))


READINGS: list[Shown] = [
    ("meter-1", "energy", "", "2023-01-01T01:00:00Z", "900"),
    ("meter-1", "energy", "", "2023-01-20T00:00:00Z", "999"),
    ("meter-1", "energy", "", "2023-01-31T20:00:00Z", "980"),
    ("meter-1", "energy", "", "2023-02-01T00:00:00Z", "30"),
    ("meter-1", "energy", "", "2023-02-20T00:00:00Z", "230"),
    ("meter-1", "energy", "", "2023-02-21T00:00:00Z", "7.5"),
    ("meter-1", "energy", "", "2023-04-03T00:00:00Z", "107.5"),
    ("meter-2", "energy", "day", "2023-01-05T00:00:00Z", "100"),
    ("meter-2", "energy", "night", "2023-01-05T00:00:00Z", "20"),
    ("meter-2", "energy", "day", "2023-02-05T00:00:00Z", "110"),
    ("meter-2", "energy", "night", "2023-02-05T00:00:00Z", "25"),
    ("sensor-1", "peak", "", "2023-01-05T00:00:00Z", "7"),
    ("sensor-1", "peak", "", "2023-01-06T00:00:00Z", "12.25"),
    ("sensor-1", "peak", "", "2023-01-07T00:00:00Z", "3"),
    ("sensor-1", "stored", "", "2023-01-05T00:00:00Z", "70"),
    ("sensor-1", "stored", "", "2023-01-30T00:00:00Z", "60"),
    ("sensor-1", "rented", "", "2023-01-01T00:00:00Z", "10"),
    ("sensor-1", "rented", "", "2023-02-15T00:00:00Z", "30"),
    ("sensor-1", "messages", "", "2023-01-05T00:00:00Z", "2"),
    ("sensor-1", "messages", "", "2023-01-06T00:00:00Z", "3"),
]
EXPECTED = {
    "c-1 2023-01-01": ("80", "2", "12.25", "60", "10", "5"),
    "c-1 2023-02-01": ("272.5", "2", "0", "0", "20", "0"),
    "c-1 2023-03-01": ("0", "0", "0", "0", "0", "0"),
    "c-1 2023-04-01": ("100", "1", "0", "0", "0", "0"),
}


@pytest.fixture
def second_line(kafka: Any, postgres: Any, migrated_template: str, tmp_path: Path) -> Iterator[Line]:
    """Another line, with a topic and a ledger of its own."""
    folder = tmp_path / "second"
    folder.mkdir()
    with fresh_database(postgres, migrated_template) as database, fresh_topic(kafka) as topic:
        made = Line(kafka.bootstrap, topic, database, folder, region_document())
        yield made
        made.close()


def test_each_kind_is_billed_by_its_rule_in_any_order(line: Any, second_line: Any) -> None:
    """Rollover, reset, an error value, two registers, a month without a reading; levels and amounts. Shuffled
    and doubled messages give the same invoices, byte for byte."""
    shuffled = [*enumerate(READINGS), *enumerate(READINGS)]
    Random(3).shuffle(shuffled)
    names = [charge["name"] for charge in CHARGES]
    for each, shown in ((line, enumerate(READINGS)), (second_line, shuffled)):
        set_up(each)
        send(each, shown)
        each.drain()
        assert each.reasons() == {}
        each.complete_backfill()
        found = invoiced(each, *(f"eu-20230{month}" for month in range(1, 5)))
        assert found == {month: dict(zip(names, values, strict=True)) for month, values in EXPECTED.items()}
        assert [invoice["events"] for invoice in each.invoices()] == [13, 6, 0, 1]
    query = "SELECT number, document FROM invoice ORDER BY number"
    assert line.rows(query) == second_line.rows(query)


def test_a_sold_meter_goes_on_from_the_sellers_last_reading(line: Any) -> None:
    """What ran between the seller's last and the buyer's first reading is the buyer's, each step once, though
    the buyer's month closes an hour before the seller's."""
    set_up(line)
    line.sign(line.contract("c-2", "globex", timeZone="Europe/Paris"))
    sold = registry.Registration("meter-1", "globex", valid_from=line.instant("2023-01-15T00:00:00Z"))
    registry.register(line.ledger, [sold], "test")
    shown = [
        ("meter-1", "energy", "", "2023-01-10T00:00:00Z", "100"),
        ("meter-1", "energy", "", "2023-01-14T00:00:00Z", "150"),
        ("meter-1", "energy", "", "2023-01-16T00:00:00Z", "170"),
        ("meter-1", "energy", "", "2023-02-16T00:00:00Z", "175"),
    ]
    send(line, reversed([*enumerate(shown)]))
    line.drain()
    line.complete_backfill()
    found = invoiced(line, "eu-202301", "eu-202302")
    assert {name: charges["energy"] for name, charges in found.items()} == {
        "c-1 2023-01-01": "50",
        "c-2 2022-12-31": "20",
        "c-1 2023-02-01": "0",
        "c-2 2023-01-31": "5",
        "c-2 2023-02-28": "0",
    }


def test_units_that_slip_stay_slipped(line: Any) -> None:
    """A meter that was read in kWh and then in Wh is billed in kWh, also in the months after."""
    set_up(line)
    line.region["spec"]["metrics"] = [{"code": "energy", "kind": "Cumulative", "unit": "kW.h"}, *METRICS[1:]]
    shown = [
        ("meter-1", "energy", "", "2023-01-10T00:00:00Z", "1000"),
        ("meter-1", "energy", "", "2023-01-20T00:00:00Z", "1001000"),
        ("meter-1", "energy", "", "2023-02-10T00:00:00Z", "1003500"),
        ("meter-1", "energy", "", "2023-04-10T00:00:00Z", "1004000"),
    ]
    send(line, enumerate(shown))
    line.drain()
    line.complete_backfill()
    found = invoiced(line, *(f"eu-20230{month}" for month in range(1, 5)))
    assert [charges["energy"] for charges in found.values()] == ["1", "2.5", "0", "0.5"]


LATE: list[tuple[Shown, int]] = [
    (("meter-1", "energy", "", "2023-01-10T00:00:00Z", "100"), 0),
    (("meter-1", "energy", "", "2023-01-20T00:00:00Z", "150"), 0),
    (("meter-1", "energy", "", "2023-01-25T00:00:00Z", "160"), 6),
    (("meter-1", "energy", "", "2023-01-30T00:00:00Z", "210"), 6),
    (("meter-1", "energy", "", "2023-02-10T00:00:00Z", "300"), 0),
    (("meter-1", "energy", "", "2023-02-20T00:00:00Z", "350"), 50),
    (("meter-1", "energy", "", "2023-02-27T00:00:00Z", "400"), 6),
    (("meter-1", "energy", "", "2023-03-05T00:00:00Z", "450"), 36),
    (("meter-1", "energy", "", "2023-03-10T00:00:00Z", "20"), 0),
    (("meter-2", "energy", "", "2023-01-10T00:00:00Z", "100"), 0),
    (("meter-2", "energy", "", "2023-01-20T00:00:00Z", "140"), 80),
    (("meter-2", "energy", "", "2023-02-05T00:00:00Z", "170"), 95),
    (("meter-2", "energy", "", "2023-02-10T00:00:00Z", "200"), 0),
    (("sensor-1", "rented", "", "2023-01-28T00:00:00Z", "4"), 7),
    (("sensor-1", "rented", "", "2023-01-30T00:00:00Z", "10"), 0),
]
"""Readings and after how many days they came: in grace, after it, and after a later one was billed."""


def send_late(line: Any) -> None:
    """All of LATE, the last one first, from devices that may be offline for long."""
    long = {"name": "default", "maxOfflineSeconds": 8_640_000}
    line.region["spec"] |= {"deviceClasses": [long], "retention": {"queueHours": 4000}}
    for number, (shown, days) in reversed([*enumerate(LATE)]):
        send(line, [(number, shown)], lag=timedelta(days=days))
    line.drain()
    assert line.reasons() == {}
    line.complete_backfill()


def test_deferred_readings_are_billed_once(line: Any) -> None:
    """A late reading adds what the whole grows by: its step, nothing once a later reading was billed, or what
    a reset had hidden; a late level changes its month's."""
    set_up(line, lateUsage="Defer")
    send_late(line)
    found = invoiced(line, *(f"eu-20230{month}" for month in range(1, 6)))
    assert [charges["energy"] for charges in found.values()] == ["60", "190", "20", "0", "0"]
    late = {
        f"{entry['charge']} {entry['billingPeriod']} on {each['period']['billingPeriod']}": (
            entry["quantity"],
            entry["amount"],
        )
        for each in line.invoices()
        for entry in each["adjustments"]
        if entry["charge"] != "meters"
    }
    assert late == {
        "energy eu-202301 on eu-202302": ("50", "50.00"),
        "rented eu-202301 on eu-202302": ("-3", "-3.00"),
        "energy eu-202302 on eu-202303": ("100", "100.00"),
        "energy eu-202301 on eu-202304": ("0", "0.00"),
        "energy eu-202302 on eu-202304": ("0", "0.00"),
        "energy eu-202303 on eu-202304": ("50", "50.00"),
        "energy eu-202302 on eu-202305": ("0", "0.00"),
    }


def test_reopened_months_are_billed_once(line: Any) -> None:
    """Amended invoices hold what all readings amount to together: 370 and 100."""
    set_up(line, lateUsage="Reopen")
    send_late(line)
    months = [f"eu-20230{month}" for month in range(1, 6)]
    found = invoiced(line, *months, *months)
    assert [charges["energy"] for charges in found.values()] == ["110", "290", "70", "0", "0"]
    assert found["c-1 2023-01-01"]["rented"] == "7"
