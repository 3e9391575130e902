"""The close when something is wrong: what waits, what is refused, and that nothing else is held up."""

from datetime import UTC, datetime
from typing import Any

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

JANUARY = "2023-01-10T12:00:00Z"


def test_not_yet(line: Any) -> None:
    """Without contracts, before the cut-off, and for a period that is none, the Job says what it waits
    for."""
    line.drain()
    assert line.close_period("eu-202301") == (75, "ContractsMissing: no contract is loaded\n")
    line.sign(line.contract("c-1", "acme"))
    line.region["spec"]["calendar"] = {"firstPeriod": "2023-01-01"}
    del line.region["spec"]["backfill"]
    status, message = line.close_period(f"eu-{datetime.now(UTC):%Y%m}")
    assert (status, message.split(":")[0]) == (75, "CutOffNotReached")
    assert line.close_period("eu-202213")[0] == 65
    assert line.close_period("us-202301")[0] == 65
    assert line.invoices() == []


def test_usage_before_the_cut_off_is_waited_for(line: Any, kafka: Any) -> None:
    """A record from before the cut-off that is not consumed holds the seal; an idle partition does not."""
    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, line.topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.incremental_alter_configs([change])[change].result()
    del line.region["spec"]["backfill"]
    line.sign(line.contract("c-1", "acme"))
    for day in (10, 20):
        line.send(b"{}", created=int(datetime(2023, 1, day, tzinfo=UTC).timestamp() * 1000))
    line.send(b"{}", created=int(datetime(2023, 2, 10, tzinfo=UTC).timestamp() * 1000))
    line.flush()
    status, message = line.close_period("eu-202301")
    assert (status, message) == (
        75,
        "UsagePending: 2 records received before the cut-off wait in partitions 0\n",
    )
    line.ledger.execute(
        "INSERT INTO partition_offset (topic, partition, topic_id, next_offset, counted_offset, records, "
        "decoded) "
        "VALUES (%s, 0, gen_random_uuid(), 2, 2, 2, 2)",
        (line.topic,),
    )
    assert line.close_period("eu-202301") == (0, "final: 1 invoices written, 0 verified\n")
    assert line.close_period("eu-202302")[0] == 75


def test_one_contract_does_not_stop_another(line: Any) -> None:
    """A contract whose plan is missing is named and left open; the others are sealed; later it gets the next
    number."""
    line.sign(
        line.contract("c-1", "acme"),
        line.contract("c-2", "globex", plan="gold"),
        line.contract("c-3", "hooli"),
    )
    line.drain()
    line.complete_backfill()
    status, message = line.close_period("eu-202301")
    assert (status, message) == (
        65,
        "plan gold is not among the published plans; apply the PricingPlan\n",
    )
    assert [each["contract"] for each in line.invoices()] == ["c-1", "c-3"]
    line.plans.append(line.plan("gold"))
    assert line.close_period("eu-202301") == (0, "final: 1 invoices written, 2 verified\n")
    assert [(each["number"], each["contract"]) for each in line.invoices()] == [
        ("EU-000001", "c-1"),
        ("EU-000002", "c-3"),
        ("EU-000003", "c-2"),
    ]


def test_sums_that_differ_are_not_invoiced(line: Any) -> None:
    """Roll-ups are compared with the rows before anything is priced; a number that was taken is given
    back."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    line.send_events("meter-1", range(5), stated=line.instant(JANUARY))
    line.drain()
    line.complete_backfill()
    line.ledger.execute("UPDATE usage_hour SET quantity = quantity + 1")
    status, message = line.close_period("eu-202301")
    assert status == 65
    assert "differ from its rows in messages" in message
    line.ledger.execute("UPDATE usage_hour SET quantity = quantity - 1")
    assert line.close_period("eu-202301")[0] == 0
    assert [each["number"] for each in line.invoices()] == ["EU-000001"]


def test_a_plan_that_is_none(line: Any) -> None:
    """A plan file that does not hold is refused with the place, not the values."""
    line.sign(line.contract("c-1", "acme"))
    line.drain()
    line.plans = [line.plan(unitPrice="cheap")]
    status, message = line.close_period("eu-202301")
    assert status == 65
    assert message.startswith("plan file fleet.json: spec.versions.0.charges.0.unitPrice")
    assert "cheap" not in message
