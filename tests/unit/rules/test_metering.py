"""Metering: registers that roll over, are reset, replaced or misread, and levels."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from fleetmeter_api.region import Metric
from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.metering import (
    Booking,
    Note,
    Reading,
    Register,
    cumulative,
    delta,
    last,
    level,
    maximum,
    register_of,
    settled,
    time_weighted,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
MARCH = Bounds(START, datetime(2026, 4, 1, tzinfo=UTC), date(2026, 3, 1))


def readings(*values: str | tuple[str, str]) -> list[Reading]:
    """One reading an hour; a pair is a value and its segment."""
    out: list[Reading] = []
    for hour, value in enumerate(values):
        text, segment = value if isinstance(value, tuple) else (value, "")
        out.append(Reading(START + timedelta(hours=hour), Decimal(text), segment))
    return out


@pytest.mark.parametrize(
    ("values", "register", "used", "note"),
    [
        (("10", "12.5", "12.5", "20"), Register(), "10", Note.PLAIN),
        (("10", "20"), Register(), "10", Note.PLAIN),
        (("65530", "65535", "4"), Register(Decimal(65536)), "10", Note.ROLLOVER),
        (("1000", "1200", "30"), Register(), "230", Note.RESET),
        (("1000", "1200", "700"), Register(Decimal(65536)), "900", Note.RESET),
        ((("1000", "a"), ("1010", "a"), ("3", "b"), ("9", "b")), Register(), "16", Note.REPLACEMENT),
        (("1554302", "1554", "1556"), Register(), "1698", Note.UNIT_SLIP),
        (("1554", "1555", "1555900"), Register(), "1.9", Note.UNIT_SLIP),
        (("2", "2000"), Register(), "1998", Note.PLAIN),
        (("1554302", "1555", "1555900"), Register(), "1598", Note.UNIT_SLIP),
        (("100", "16777215", "130"), Register(sentinels=frozenset({Decimal(16777215)})), "30", Note.SENTINEL),
        (("100",), Register(), "0", Note.FIRST),
    ],
)
def test_registers(values: tuple[str, ...], register: Register, used: str, note: Note) -> None:
    steps = cumulative(readings(*values), register)
    assert delta(step.consumed for step in steps) == Decimal(used)
    assert note in {step.note for step in steps}
    assert all(step.consumed >= 0 for step in steps)


def test_consumption_belongs_to_the_instant_of_the_later_reading() -> None:
    before = Reading(START - timedelta(hours=1), Decimal(100))
    at_start = Reading(START, Decimal(130))
    at_end = Reading(MARCH.end, Decimal(190))
    steps = cumulative([at_end, before, at_start], Register())
    assert [(step.at, step.consumed) for step in steps] == [(before.at, 0), (START, 30), (MARCH.end, 60)]


def test_levels() -> None:
    found = readings("5", "9", "1")
    assert maximum(found, MARCH) == 9
    assert last(found, MARCH) == 1
    assert maximum([], MARCH) == last([], MARCH) == time_weighted([], MARCH) == 0


def test_a_level_holds_until_the_next_reading() -> None:
    day = Bounds(START, START + timedelta(days=1), date(2026, 3, 1))
    before = Reading(START - timedelta(days=3), Decimal(6))
    noon = Reading(START + timedelta(hours=12), Decimal(3))
    assert time_weighted([noon, before], day) == Decimal("4.5")
    assert time_weighted([noon], day) == Decimal(3)
    six = Reading(START + timedelta(hours=8), Decimal(1))
    assert time_weighted([before, six], day) == Decimal("2.6666666667")


METER = {"code": "m", "unit": "1"}


def test_a_metric_tells_how_it_is_read() -> None:
    metric = Metric.model_validate(
        METER | {"kind": "Cumulative", "rollover": "1000", "sentinels": ["777", "999"]}
    )
    assert register_of(metric) == Register(Decimal(1000), frozenset({Decimal(777), Decimal(999)}))
    assert register_of(Metric.model_validate(METER | {"kind": "Cumulative"})) == Register()


@pytest.mark.parametrize(("aggregation", "expected"), [("Max", "13"), ("Last", "6"), ("TimeWeighted", "11")])
def test_a_devices_level_is_that_of_its_sensors_together(aggregation: str, expected: str) -> None:
    """Each sensor by the metric's aggregation, then their sum; an error value counts for nothing."""
    day = Bounds(START, START + timedelta(hours=4), date(2026, 3, 1))
    metric = Metric.model_validate(
        METER | {"kind": "Gauge", "aggregation": aggregation, "sentinels": ["127"]}
    )
    found = readings(("8", "a"), ("5", "b"), ("127", "a"), ("1", "a"))
    found.append(Reading(START - timedelta(hours=1), Decimal(4), "b"))
    assert level(found, metric, day) == Decimal(expected)


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def booked(hour: int, value: str, received: int, closed: int, *, opens: bool = False) -> Booking:
    return Booking(Reading(at(hour), Decimal(value)), at(closed), at(received), opens)


@pytest.mark.parametrize(
    ("bookings", "billed"),
    [
        # In time, one invoice: the plain steps.
        ([booked(0, "100", 0, 10), booked(1, "150", 1, 10)], ["0", "50"]),
        # The reading before is billed elsewhere.
        ([booked(0, "100", 0, 5, opens=True), booked(1, "150", 1, 10)], ["0", "50"]),
        # It came after a later one was billed: that one's step has it already.
        ([booked(0, "100", 0, 10), booked(1, "130", 15, 20), booked(2, "150", 2, 10)], ["0", "0", "50"]),
        # It shows what a reset had hidden.
        ([booked(0, "100", 0, 10), booked(1, "130", 15, 20), booked(2, "20", 2, 10)], ["0", "30", "20"]),
        # It came late, and nothing after it was billed before.
        ([booked(0, "100", 0, 10), booked(1, "130", 15, 20), booked(11, "150", 12, 20)], ["0", "30", "20"]),
        # The first reading of all came last: the others began too late.
        ([booked(0, "100", 15, 20), booked(1, "130", 1, 10), booked(2, "150", 2, 10)], ["30", "0", "20"]),
        # A seller's invoice closes after the buyer's, which saw the seller's reading.
        ([booked(0, "100", 0, 11), booked(1, "130", 1, 11), booked(2, "150", 2, 10)], ["0", "30", "20"]),
    ],
)
def test_late_readings_add_what_the_whole_grows_by(bookings: list[Booking], billed: list[str]) -> None:
    assert [step.consumed for step in settled(bookings, Register())] == [Decimal(each) for each in billed]


def test_units_that_slipped_before_stay_slipped() -> None:
    steps = settled(
        [booked(0, "1000000", 0, 5, opens=True), booked(1, "1002500", 1, 10)],
        Register(),
        {"": Decimal("0.001")},
    )
    assert steps[1].consumed == Decimal("2.5")


def test_deltas_keep_every_digit() -> None:
    assert delta([Decimal("9999999999.9999999999")] * 3) == Decimal("29999999999.9999999997")
    assert delta([]) == 0
