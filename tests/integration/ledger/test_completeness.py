"""Completeness of contract periods: what devices counted against the rows of a real ledger."""

import json
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from fleetmeter_api.region import Region
from fleetmeter_rules.completeness import completeness as by_the_rule
from fleetmeter_workers.ledger import boundaries, completeness, contracts, periods
from fleetmeter_workers.ledger.completeness import Check, Finding
from fleetmeter_workers.ledger.contract_book import ContractBook

MONTHS = {
    name: datetime.fromisoformat(f"2023-{number:02d}-10T00:00:00Z")
    for number, name in enumerate(("eu-202301", "eu-202302", "eu-202303"), start=1)
}
MARCH = datetime.fromisoformat("2023-03-01T00:00:00Z")


def send(
    line: Any, month: str, sequences: list[int], device: str = "meter-1", epoch: int = 1, **more: Any
) -> None:
    """Messages of the month with these numbers, in any order."""
    for place, sequence in enumerate(sequences):
        event = {"device": device, "epoch": str(epoch), "seq": sequence} | more
        line.send(json.dumps(event).encode(), stated=MONTHS[month] + timedelta(minutes=place))


def look(line: Any, month: str) -> tuple[Check, list[Finding]]:
    """What a look at the month finds."""
    (period,) = periods.of_billing_period(line.ledger, month)
    book = ContractBook(Region.model_validate(line.region), contracts.all_versions(line.ledger))
    window = completeness.window_of(book.terms(period.contract, period.cutoff_at), period)
    found = completeness.survey(line.ledger, period, window)
    assert found.check == completeness.look(line.ledger, period, window)
    return found.check, list(found.findings)


@pytest.fixture
def signed(line: Any) -> Any:
    """A line with one device of a customer that wants complete usage."""
    line.sign(line.contract("c-1", "acme", incompleteUsage="Hold"))
    line.register(("meter-1", "acme"))
    return line


def test_the_articles_sentence(signed: Any) -> None:
    """Counted 1,000, hold 997, missing 412-414; and the gap over an edge counts behind it."""
    send(signed, "eu-202301", [n for n in range(1, 1001) if n not in (412, 413, 414)])
    send(signed, "eu-202302", [1003, 1002, 1002, 1005])
    signed.drain()
    found, devices = look(signed, "eu-202301")
    assert (found.counted, found.held, found.missing, found.silent) == (1000, 997, 3, 0)
    assert [str(each.found) for each in devices] == ["counted 1,000, hold 997, missing 412-414"]
    assert [each.epoch for each in devices] == ["epoch:1"]
    found, devices = look(signed, "eu-202302")
    assert [str(each.found) for each in devices] == ["counted 5, hold 3, missing 1001, 1004"]
    assert (found.counted, found.held) == (5, 3)


def test_a_look_agrees_with_the_rule_on_any_fleet(signed: Any) -> None:
    """Devices, epochs and months at random, with copies, several items and rows set aside."""
    chance = Random(20230101)
    devices = [f"meter-{n}" for n in range(2, 6)]
    signed.register(*((device, "acme") for device in devices))
    held: dict[tuple[str, int], dict[str, set[int]]] = {}
    for device in devices:
        for epoch in (1, 2):
            numbers = sorted(chance.sample(range(60), chance.randrange(2, 40)))
            cut = chance.randrange(len(numbers))
            own = held.setdefault((device, epoch), {})
            for month, part in (("eu-202301", numbers[:cut]), ("eu-202302", numbers[cut:])):
                own[month] = set(part)
                send(signed, month, [*part, *part[:3]], device, epoch)
    items = [{"metric": metric, "quantity": "1"} for metric in ("messages", "energy")]
    send(signed, "eu-202302", [7, 9], "meter-1", 1, items=items)
    # Set aside, so not billed, yet not missing either.
    send(signed, "eu-202302", [8], "meter-1", 1, items=[{"metric": "steam", "quantity": "1"}])
    signed.drain()
    for month in ("eu-202301", "eu-202302"):
        counted = hold = 0
        wanted: dict[tuple[str, str], str] = {}
        for (device, epoch), own in held.items():
            earlier = held[device, epoch]["eu-202301"] if month == "eu-202302" else set[int]()
            expected = by_the_rule(own[month], max(earlier, default=None))
            if not own[month]:
                continue
            counted, hold = counted + expected.counted, hold + expected.held
            if expected.missing:
                wanted[device, f"epoch:{epoch}"] = str(expected)
        if month == "eu-202302":
            counted, hold = counted + 3, hold + 3
        found, listed = look(signed, month)
        assert (found.counted, found.held) == (counted, hold)
        names = dict(signed.rows("SELECT alias, uid FROM device"))
        assert wanted
        assert {(names[e.alias], e.epoch): str(e.found) for e in listed if e.found is not None} == wanted


def test_the_loss_of_real_traces_is_what_was_measured_on_them(line: Any) -> None:
    """Of the frames that a LoRaWAN device counted over 97 days 31.7 % never arrived; the months' looks add up
    to that, since a gap over an edge counts once."""
    line.set_up_traces()
    line.send_traces()
    line.drain()
    book = ContractBook(Region.model_validate(line.region), contracts.all_versions(line.ledger))
    sums: dict[str, list[int]] = {}
    for name in sorted({name for (name,) in line.rows("SELECT billing_period FROM contract_period")}):
        for period in periods.of_billing_period(line.ledger, name):
            window = completeness.window_of(book.terms(period.contract, period.cutoff_at), period)
            found = completeness.look(line.ledger, period, window)
            total = sums.setdefault(period.contract, [0, 0])
            sums[period.contract] = [total[0] + found.counted, total[1] + found.held]
    assert sums == {"c-acme": [13_786, 9_417], "c-globex": [6_161, 6_144]}
    counted, held = sums["c-acme"]
    assert round(100 * (counted - held) / counted, 1) == 31.7


def test_a_silent_device_is_one_that_should_have_spoken(signed: Any) -> None:
    """Not one of another owner by then, not one whose messages were all set aside, not one moved away."""
    signed.register(("meter-2", "acme"), ("meter-3", "acme"), ("meter-4", "acme"), ("meter-5", "globex"))
    send(signed, "eu-202301", [1])
    send(signed, "eu-202301", [1], "meter-3", items=[{"metric": "steam", "quantity": "1"}])
    signed.drain()
    signed.register(("meter-4", "globex"))
    found, devices = look(signed, "eu-202301")
    names = dict(signed.rows("SELECT uid, alias FROM device"))
    assert found.silent == 1
    assert [(each.alias, each.found) for each in devices] == [(names["meter-2"], None)]


def test_an_incomplete_period_waits_until_the_usage_arrives(signed: Any) -> None:
    """Late it may be; it is no longer missing, and what becomes of it is the contract's."""
    send(signed, "eu-202301", [1, 2, 4, 5])
    signed.drain()
    signed.complete_backfill()
    status, message = signed.close_period("eu-202301")
    assert (status, message) == (
        75,
        "UsageIncomplete: 1 messages are missing and 0 devices are silent; "
        "run fleetmeter completeness list --billing-period eu-202301\n",
    )
    signed.send(
        json.dumps({"device": "meter-1", "epoch": "1", "seq": 3, "eventAt": "2023-01-10T00:00:00Z"}).encode()
    )
    signed.drain()
    status, message = signed.close_period("eu-202301")
    assert status == 0, message


def test_a_person_takes_an_incomplete_period_as_it_is(signed: Any) -> None:
    """And no more than that: should more be missing, it waits again."""
    send(signed, "eu-202301", [1, 3])
    signed.drain()
    signed.complete_backfill()
    (period,) = periods.of_billing_period(signed.ledger, "eu-202301")
    assert completeness.take(signed.ledger, period.period_id, Check(3, 2, 0), "ann")
    assert not completeness.take(signed.ledger, period.period_id, Check(3, 2, 0), "bob")
    assert signed.rows("SELECT missing, silent, actor FROM incomplete_decision") == [(1, 0, "ann")]
    signed.register(("meter-2", "acme"))
    status, message = signed.close_period("eu-202301")
    assert (status, message.split(";")[0]) == (
        75,
        "UsageIncomplete: 1 messages are missing and 1 devices are silent",
    )
    assert completeness.take(signed.ledger, period.period_id, Check(3, 2, 1), "ann")
    assert signed.close_period("eu-202301")[0] == 0


def test_one_contracts_hold_stops_no_other(signed: Any) -> None:
    """The other contract's invoice is written while the first waits."""
    signed.sign(signed.contract("c-2", "globex"))
    signed.register(("meter-9", "globex"))
    send(signed, "eu-202301", [1, 3])
    send(signed, "eu-202301", [1, 3], "meter-9")
    signed.drain()
    signed.complete_backfill()
    assert signed.close_period("eu-202301")[0] == 75
    assert [
        each["contract"]["code"] if isinstance(each["contract"], dict) else each["contract"]
        for each in signed.invoices()
    ] == ["c-2"]


def test_a_moved_event_is_missing_nowhere(signed: Any) -> None:
    """A number that a person moved to the neighbour stays one that is held."""
    send(signed, "eu-202302", [1, 2])
    edge = {
        "device": "meter-1",
        "epoch": "1",
        "seq": 3,
        "eventAt": (MARCH - timedelta(minutes=1)).isoformat(),
    }
    signed.send(json.dumps(edge).encode(), stated=MARCH)
    send(signed, "eu-202303", [4, 5])
    signed.drain()
    february, march = (
        periods.of_billing_period(signed.ledger, name)[0].period_id for name in ("eu-202302", "eu-202303")
    )
    assert boundaries.decide(signed.ledger, february, None, march, "ann") == 1
    for name, counted in (("eu-202302", 3), ("eu-202303", 2)):
        found, _ = look(signed, name)
        assert (found.counted, found.held) == (counted, counted)
