"""Metering: what a simulated meter really counted, in any order of arrival."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.calendar import Bounds
from fleetmeter_rules.metering import (
    Booking,
    Note,
    Reading,
    Register,
    cumulative,
    delta,
    last,
    maximum,
    settled,
    time_weighted,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = 48
PERIOD = Bounds(START, START + timedelta(hours=HOURS), date(2026, 3, 1))
PLAIN = Register()

amounts = st.decimals(0, 400, places=4)
levels = st.decimals(0, 10**6, places=3)


def whole(readings: Iterable[Reading], register: Register = PLAIN) -> Decimal:
    """What all readings amount to together."""
    return delta(step.consumed for step in cumulative(readings, register))


@st.composite
def series(draw: st.DrawFn) -> list[Reading]:
    """Levels at whole hours, some before and after the period, each hour once."""
    hours = draw(st.lists(st.integers(-20, HOURS + 20), unique=True, max_size=12))
    return [Reading(START + timedelta(hours=hour), draw(levels)) for hour in hours]


@given(st.lists(st.decimals(0, 10**9, places=10)), st.randoms(use_true_random=False))
def test_delta_is_the_exact_sum(quantities: list[Decimal], shuffler: Random) -> None:
    total = delta(quantities)
    assert Fraction(total) == sum(map(Fraction, quantities))
    shuffler.shuffle(quantities)
    assert delta(quantities) == total


@given(st.lists(amounts, min_size=1, max_size=20), st.integers(0, 999), st.randoms(use_true_random=False))
def test_a_register_that_rolls_over_counts_everything_once(
    used: list[Decimal], opening: int, shuffler: Random
) -> None:
    modulus = Decimal(1000)
    total, readings = Decimal(opening), [Reading(START, Decimal(opening))]
    for hour, amount in enumerate(used, start=1):
        total += amount
        readings.append(Reading(START + timedelta(hours=hour), total % modulus))
    shuffler.shuffle(readings)
    assert whole(readings, Register(modulus)) == sum(used)


@given(st.lists(amounts, min_size=2, max_size=20), st.data())
def test_lost_and_repeated_readings_change_nothing(used: list[Decimal], data: st.DataObject) -> None:
    total, readings = Decimal(0), [Reading(START, Decimal(0))]
    for hour, amount in enumerate(used, start=1):
        total += amount
        readings.append(Reading(START + timedelta(hours=hour), total))
    middle = readings[1:-1]
    kept = data.draw(st.lists(st.sampled_from(middle), max_size=30)) if middle else []
    some = [readings[0], *kept, readings[-1]]
    assert whole(data.draw(st.permutations(some))) == total


@given(st.lists(st.tuples(levels, st.sampled_from("ab")), max_size=12), st.randoms(use_true_random=False))
def test_steps_do_not_depend_on_arrival_and_never_give_money_back(
    shown: list[tuple[Decimal, str]], shuffler: Random
) -> None:
    readings = [
        Reading(START + timedelta(hours=n), value, segment) for n, (value, segment) in enumerate(shown)
    ]
    steps = cumulative(readings, Register(Decimal(10**6), frozenset({Decimal(7)})))
    shuffler.shuffle(readings)
    assert cumulative(readings, Register(Decimal(10**6), frozenset({Decimal(7)}))) == steps
    assert len(steps) == len(readings)
    assert all(step.consumed >= 0 for step in steps)
    assert all(
        step.consumed == 0 for step in steps if step.note in (Note.FIRST, Note.REPLACEMENT, Note.SENTINEL)
    )


@st.composite
def bookings(draw: st.DrawFn, values: st.SearchStrategy[Decimal] | None = None) -> list[Booking]:
    """Readings of two registers, each received a while after its hour and billed at some later cut-off, in
    time or not. Without `values` the registers only ever count up."""
    count = draw(st.integers(1, 12))
    total = {"": Decimal(0), "b": Decimal(5)}
    found: list[Booking] = []
    for hour in range(count):
        segment = draw(st.sampled_from(["", "", "b"]))
        if values is None:
            total[segment] += draw(amounts)
        else:
            total[segment] = draw(values)
        received = hour + draw(st.sampled_from([0, 0, 1, 7, 15]))
        booked = received + draw(st.integers(1, 10))
        reading = Reading(START + timedelta(hours=hour), total[segment], segment)
        found.append(Booking(reading, START + timedelta(hours=booked), START + timedelta(hours=received)))
    return found


@given(st.one_of(bookings(), bookings(amounts)), st.randoms(use_true_random=False))
def test_bookings_bill_each_consumption_once(given_: list[Booking], shuffler: Random) -> None:
    """Whatever came when and is billed when: the shares add up to what all readings amount to together."""
    shares = settled(given_, Register())
    assert delta(step.consumed for step in shares) == whole([b.reading for b in given_])
    assert all(step.consumed >= 0 for step in shares)
    order = list(range(len(given_)))
    shuffler.shuffle(order)
    again = settled([given_[place] for place in order], Register())
    assert again == tuple(shares[place] for place in order)


@given(st.one_of(bookings(), bookings(amounts)), st.data())
def test_an_invoice_stays_as_it_was_closed(given_: list[Booking], data: st.DataObject) -> None:
    """What comes later changes no share of an invoice that is closed: it was drawn up from what was seen."""
    closed = data.draw(st.sampled_from(sorted({booking.booked_at for booking in given_})))
    seen = [b for b in given_ if b.booked_at <= closed or b.received_at < closed]
    then = settled(seen, Register())
    now = dict(zip(map(id, given_), settled(given_, Register()), strict=True))
    for booking, step in zip(seen, then, strict=True):
        assert booking.booked_at > closed or now[id(booking)] == step


@given(bookings())
def test_all_in_time_is_the_plain_rule(given_: list[Booking]) -> None:
    """Where every reading was seen by every close, each is billed for its own step, whoever closes first."""
    seen = [Booking(b.reading, b.booked_at, START - timedelta(days=1)) for b in given_]
    plain = cumulative([b.reading for b in given_], Register())
    assert [step.consumed for step in settled(seen, Register())] == [step.consumed for step in plain]


@given(series(), st.randoms(use_true_random=False))
def test_levels_by_the_hour(readings: list[Reading], shuffler: Random) -> None:
    """The oracle holds a level for each hour of the period and looks at all of them."""
    known = {reading.at: reading.value for reading in readings}
    now, by_hour, read = None, list[Decimal](), list[Decimal]()
    for hour in range(-20, HOURS):
        at = START + timedelta(hours=hour)
        now = known.get(at, now)
        if hour >= 0 and now is not None:
            by_hour.append(now)
        if hour >= 0 and at in known:
            read.append(known[at])
    shuffler.shuffle(readings)
    assert maximum(readings, PERIOD) == max(read, default=0)
    assert last(readings, PERIOD) == (read[-1] if read else 0)
    mean = Fraction(sum(map(Fraction, by_hour), Fraction(0)), len(by_hour)) if by_hour else Fraction(0)
    assert abs(Fraction(time_weighted(readings, PERIOD)) - mean) <= Fraction(1, 2 * 10**10)
