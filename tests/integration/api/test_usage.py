"""Usage of registers and levels: what the readings so far amount to, by the rule of the invoice."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fleetmeter_rules.identity import epoch_sequence, packed_key
from fleetmeter_workers.ledger import events, registry, usage
from fleetmeter_workers.ledger.events import EventRow
from fleetmeter_workers.ledger.usage import HourSum

from .conftest import RegionApi, add_period

READ = [
    {"code": "energy", "kind": "Cumulative", "unit": "kW.h", "rollover": "1000"},
    {"code": "stored", "kind": "Gauge", "unit": "GB", "aggregation": "Last"},
]


@pytest.fixture
def region(region: dict[str, Any]) -> dict[str, Any]:
    region["spec"]["metrics"] += READ
    return region


def read(api: RegionApi, metric: str, *shown: tuple[str, str]) -> None:
    """Readings of a device of its own in January, as (instant, value), as the consumer books them."""
    kind = next(each for each in READ if each["code"] == metric)
    with api.ledger() as connection, connection.transaction():
        period_id = add_period(connection, f"{metric}-1", "acme")
        registry.register(connection, [registry.Registration(metric, "acme", f"the-{metric}")], "test")
        device = registry.find_devices(connection, [metric])[metric].device_id
        metric_id = registry.metric_ids(connection, [(metric, kind["kind"], kind["unit"])])[metric]
        rows = [
            EventRow(
                key=packed_key(device, epoch_sequence(metric, "1", number)).key,
                event_at=datetime.fromisoformat(at),
                received_at=datetime.fromisoformat(at),
                fingerprint=bytes(16),
                device_id=device,
                period_id=period_id,
                uncertainty=0,
                metric_id=metric_id,
                verdict=events.BILLED,
                time_method=4,
                revision=1,
                late=False,
                quantity=Decimal(value),
                canonical=b"",
            )
            for number, (at, value) in enumerate(shown)
        ]
        events.merge(connection, rows)
        for row in rows:
            assert row.event_at is not None and row.quantity is not None
            hour = row.event_at.replace(minute=0, second=0, microsecond=0)
            usage.add_hours(connection, {(period_id, metric_id, hour): HourSum(1, 0, row.quantity)})


def quantities(api: RegionApi, **query: str) -> dict[str, str | None]:
    """The quantities by metric, and by day where days are asked for."""
    answer = api.get("/v1/usage", **query).json()["usage"]
    return {f"{each['metric']} {each.get('day', '')}".strip(): each["quantity"] for each in answer}


def test_registers_and_levels_are_measured(api: RegionApi) -> None:
    read(
        api,
        "energy",
        ("2023-01-05T10:00:00Z", "990"),
        ("2023-01-05T11:00:00Z", "995.5"),
        ("2023-01-06T10:00:00Z", "4"),
    )
    read(api, "stored", ("2023-01-05T10:00:00Z", "40"), ("2023-01-09T10:00:00Z", "25"))
    assert quantities(api) == {"energy": "14", "stored": "25"}
    assert quantities(api, by="day") == {
        "energy 2023-01-05": "5.5",
        "energy 2023-01-06": "8.5",
        "stored 2023-01-05": "40",
        "stored 2023-01-09": "25",
    }
    assert quantities(api, billingPeriod="eu-202302") == {}


def test_too_many_readings_are_not_measured_in_an_answer(api: RegionApi) -> None:
    read(api, "energy", ("2023-01-05T10:00:00Z", "1"), ("2023-01-06T10:00:00Z", "3"))
    assert quantities(api) == {"energy": "2"}
    with api.ledger() as connection:
        connection.execute("UPDATE fleetmeter.usage_hour SET events = 200001")
    assert quantities(api) == {"energy": None}


def test_amounts_are_sums(api: RegionApi) -> None:
    with api.ledger() as connection:
        period_id = add_period(connection, "acme-1", "acme")
        metric_id = registry.metric_ids(connection, [("messages", "Delta", "message")])["messages"]
        hour = datetime(2023, 1, 5, 7, tzinfo=UTC)
        usage.add_hours(connection, {(period_id, metric_id, hour): HourSum(3, 0, Decimal("3"))})
    read(api, "energy", ("2023-01-05T10:00:00Z", "1"), ("2023-01-06T10:00:00Z", "3"))
    assert quantities(api) == {"energy": "2", "messages": "3"}
