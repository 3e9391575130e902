"""What the close reads around a period's readings is enough: it measures as if it had read them all."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from fleetmeter_api.region import Metric
from fleetmeter_rules.metering import Booking, Reading, Register, settled
from fleetmeter_workers.ledger import events, periods, readings, registry
from fleetmeter_workers.ledger.database import connect
from fleetmeter_workers.ledger.events import EventRow
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.metering.measure import Consumption, measured

DEVICES = 60
MONTHS = 5
YEAR = datetime(2023, 1, 1, tzinfo=UTC)
ENERGY = Metric(code="energy", kind="Cumulative", unit="kW.h")


@dataclass(frozen=True)
class Booked:
    """A reading of one device and the period that bills it."""

    key: bytes
    at: datetime
    received_at: datetime
    value: Decimal
    register: str
    period: ContractPeriod
    late: bool


def month(number: int) -> datetime:
    return datetime(2023, number, 1, tzinfo=UTC)


@pytest.fixture
def book(line: Any) -> dict[str, list[ContractPeriod]]:
    """Two customers' months; the second one's close some days earlier or later than the first one's."""
    ids = registry.customer_ids(line.ledger, ["seller", "buyer"])
    registry.metric_ids(line.ledger, [("energy", "Cumulative", "kW.h")])
    for number in range(1, MONTHS + 1):
        for customer, grace in (("seller", 3), ("buyer", (number * 5) % 7)):
            end = month(number + 1)
            line.ledger.execute(
                "INSERT INTO contract_period (contract, customer_id, billing_period, starts_at, ends_at, "
                "cutoff_at, late_usage) VALUES (%s, %s, %s, %s, %s, %s, 'Defer')",
                (customer, ids[customer], f"eu-{number}", month(number), end, end + timedelta(days=grace)),
            )
    rows = line.rows("SELECT period_id FROM contract_period")
    found = periods.of_ids(line.ledger, [row[0] for row in rows])
    return {name: [each for each in found if each.contract == name] for name in ids}


def place(
    of: list[ContractPeriod], at: datetime, received_at: datetime
) -> tuple[ContractPeriod, bool] | None:
    """The period that bills a reading: its own one by the cut-off, then the one that holds its receipt."""
    own = next(each for each in of if each.starts_at <= at < each.ends_at)
    if received_at < own.cutoff_at:
        return own, False
    later = [each for each in of if each.starts_at <= received_at < each.ends_at]
    return (later[0], True) if later else None


def history(random: Random, number: int, book: dict[str, list[ContractPeriod]]) -> list[Booked]:
    """A device's readings: counting on, sometimes reset, on one register or two, sold once, often late."""
    sold = YEAR + timedelta(days=random.randint(0, 150))
    value = Decimal(random.randint(0, 500))
    found: list[Booked] = []
    instants = sorted(YEAR + timedelta(seconds=random.randint(0, 150 * 86_400)) for _ in range(25))
    for sequence, at in enumerate(instants[: random.randint(1, 25)]):
        lag = timedelta(seconds=random.choice([0, 0, 60, random.randint(0, 60 * 86_400)]))
        register = random.choice(["", "", "night"]) if number % 3 == 0 else ""
        value = Decimal(random.randint(0, 9)) if random.random() < 0.1 else value + random.randint(0, 90)
        told = place(book["seller" if at < sold else "buyer"], at, at + lag)
        if told is not None:
            key = number.to_bytes(4, "big") + bytes(8) + sequence.to_bytes(4, "big")
            found.append(Booked(key, at, at + lag, value, register, *told))
    return found


def write(line: Any, device: int, history: list[Booked]) -> None:
    """Book the readings as the consumer does."""
    rows = [
        EventRow(
            key=each.key,
            event_at=each.at,
            received_at=each.received_at,
            fingerprint=bytes(16),
            device_id=device,
            period_id=each.period.period_id,
            uncertainty=0,
            metric_id=1,
            verdict=events.BILLED,
            time_method=4,
            revision=0 if each.late else 1,
            late=each.late,
            quantity=each.value,
            canonical=b"",
        )
        for each in history
    ]
    events.merge(line.ledger, rows)
    for each in history:
        if each.late:
            line.ledger.execute(
                "INSERT INTO late_usage (event_at, received_at, event_key, period_id, booked_period_id, "
                "device_id, metric_id, quantity, canonical) "
                "SELECT event_at, received_at, event_key, (SELECT own.period_id FROM contract_period AS own "
                "WHERE own.contract = %s AND starts_at <= event_at AND event_at < ends_at), period_id, "
                "device_id, metric_id, quantity, canonical FROM event WHERE event_key = %s::uuid",
                (each.period.contract, each.key.hex()),
            )
    named = {each.key: each.register for each in history if each.register}
    readings.add_registers(line.ledger, named)


def expected(history: list[Booked]) -> dict[int, tuple[Decimal, Decimal]]:
    """The own and the late consumption by period, by the rule over everything."""
    bookings = [
        Booking(Reading(each.at, each.value, each.register), each.period.cutoff_at, each.received_at)
        for each in history
    ]
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for each, step in zip(history, settled(bookings, Register()), strict=True):
        own, late = found.get(each.period.period_id, (Decimal(0), Decimal(0)))
        more = (own, late + step.consumed) if each.late else (own + step.consumed, late)
        found[each.period.period_id] = more
    return found


@pytest.mark.parametrize("seed", range(2))
def test_each_period_is_measured_as_if_everything_was_read(
    line: Any, book: dict[str, list[ContractPeriod]], seed: int
) -> None:
    random = Random(seed)
    wanted: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
    for number in range(1, DEVICES + 1):
        own = history(random, number, book)
        name = f"meter-{number}"
        sales = [registry.Registration(f"u-{name}", owner, name) for owner in ("seller", "buyer")]
        registry.register(line.ledger, sales, "test")
        device = registry.find_devices(line.ledger, [f"u-{name}"])[f"u-{name}"].device_id
        write(line, device, own)
        wanted |= {(name, period): sums for period, sums in expected(own).items()}
    found: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
    with connect("test", line.database.dsn("closer")) as connection, connection.transaction():
        for period in (each for known in book.values() for each in known):
            for one in measured(connection, {"energy": ENERGY}, period):
                assert isinstance(one, Consumption)
                late = sum((step.consumed for step in one.late_steps), Decimal(0))
                found[one.alias, period.period_id] = (one.own(), late)
    assert found == wanted
    assert sum(own + late for own, late in wanted.values()) > 0
