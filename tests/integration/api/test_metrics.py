"""What the region's metrics tell of single contracts: copies by the hour, by code, capped, or not at all."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from fleetmeter_workers.api.ledger_metrics import MOST_CONTRACTS

FLEET = MOST_CONTRACTS + 10


@pytest.fixture
def region(region: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """The region with the parameter's switch."""
    region["spec"]["api"] = {"customerMetrics": getattr(request, "param", True)}
    return region


def scrape(api: Any) -> str:
    address = f"http://127.0.0.1:{api.worker.metrics_port}/metrics"
    return httpx.get(address, timeout=20, trust_env=False).text


def series(text: str, name: str) -> dict[tuple[str, str], float]:
    """(contract, hour) -> value."""
    found = re.findall(rf'^{name}{{contract="(.*)",hour="(.*)"}} (.*)$', text, re.MULTILINE)
    return {(contract, hour): float(value) for contract, hour, value in found}


def fill(api: Any) -> None:
    """A fleet of customers; number n has n copies in each of three hours, and five events in the last one."""
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    with api.ledger() as ledger:
        ledger.execute("SET search_path = fleetmeter")
        ledger.execute("INSERT INTO metric (code, kind, unit) VALUES ('messages', 'Delta', 'message')")
        for number in range(1, FLEET + 1):
            ledger.execute("INSERT INTO customer (code) VALUES (%s)", (f"Nora Secret {number}",))
            ledger.execute(
                "INSERT INTO contract_period (contract, customer_id, billing_period, starts_at, ends_at, "
                "cutoff_at, late_usage) VALUES (%s, (SELECT customer_id FROM customer WHERE code = %s), "
                "'eu-202301', %s, %s, %s, 'Grace')",
                (f"c-{number}", f"Nora Secret {number}", now - timedelta(9), *[now + timedelta(9)] * 2),
            )
        for back in range(3):
            ledger.execute(
                "INSERT INTO duplicate_hour (customer_id, hour, duplicates) "
                "SELECT customer_id, %s, customer_id FROM customer",
                (hour - timedelta(hours=back),),
            )
        ledger.execute(
            "INSERT INTO usage_hour (period_id, metric_id, hour, events, late, quantity) "
            "SELECT period_id, 1, %s, 5, 0, 5 FROM contract_period",
            (hour - timedelta(hours=1),),
        )


def test_copies_are_told_by_contract_and_hour_and_capped(api: Any) -> None:
    fill(api)
    text = scrape(api)
    copies, events = series(text, "fleetmeter_ledger_duplicates"), series(text, "fleetmeter_ledger_events")
    own = range(FLEET - MOST_CONTRACTS + 1, FLEET + 1)
    assert {contract for contract, _ in copies} == {"other", *(f"c-{number}" for number in own)}
    for hour in ("previous", "current"):
        assert copies[f"c-{FLEET}", hour] == FLEET
        assert copies["other", hour] == sum(range(1, FLEET - MOST_CONTRACTS + 1))
    assert events[f"c-{FLEET}", "previous"] == 5
    assert events[f"c-{FLEET}", "current"] == 0
    assert "Nora" not in text


@pytest.mark.parametrize("region", [False], indirect=True)
def test_a_region_can_tell_nothing_of_contracts(api: Any) -> None:
    fill(api)
    text = scrape(api)
    everyone = sum(range(1, FLEET + 1))
    expected = {("other", hour): everyone for hour in ("previous", "current")}
    assert series(text, "fleetmeter_ledger_duplicates") == expected
    assert series(text, "fleetmeter_ledger_events") == {}
    assert "c-1" not in text


def test_watermarks_and_what_waits_are_told(api: Any) -> None:
    with api.ledger() as ledger:
        ledger.execute(
            "INSERT INTO fleetmeter.partition_offset (topic, partition, topic_id, next_offset, "
            "counted_offset, watermark_at) VALUES (%s, 2, gen_random_uuid(), 0, 0, '2026-01-01T00:00:00Z')",
            (api.topic,),
        )
    at = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    (told,) = re.findall(
        r'^fleetmeter_ledger_watermark_seconds{partition="2"} (.*)$', scrape(api), re.MULTILINE
    )
    assert float(told) == at
