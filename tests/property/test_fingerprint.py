"""Fingerprint: by value and name, in any order."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.fingerprint import Value, fingerprint

values: st.SearchStrategy[Value] = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.binary(max_size=5),
    st.integers(-9, 9),
    st.decimals(-9, 9, places=2),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  as asked
)
contents = st.dictionaries(st.sampled_from(["metric", "quantity", "payload", "port"]), values, max_size=4)


@given(contents, st.randoms())
def test_order_and_absence_make_no_difference(content: dict[str, Value], shuffler: Random) -> None:
    pairs = list(content.items())
    shuffled = [*pairs, ("absent", None)]
    shuffler.shuffle(shuffled)
    assert fingerprint(shuffled) == fingerprint(pairs)
    assert len(fingerprint(pairs)) == 16


@given(contents, contents)
def test_other_content_is_another_fingerprint(one: dict[str, Value], other: dict[str, Value]) -> None:
    same = {name: (type(value), value) for name, value in one.items()} == {
        name: (type(value), value) for name, value in other.items()
    }
    assert (fingerprint(one.items()) == fingerprint(other.items())) == same


@given(st.decimals(-(10**9), 10**9, places=4), st.integers(0, 9))
def test_decimals_compare_by_value(value: Decimal, zeros: int) -> None:
    spelled = Decimal(f"{value}{'0' * zeros}")
    assert fingerprint([("quantity", value)]) == fingerprint([("quantity", spelled)])


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), st.integers(-12, 12))  # noqa: DTZ001  as asked
def test_instants_compare_by_value(instant: datetime, hours: int) -> None:
    elsewhere = instant.astimezone(timezone(timedelta(hours=hours)))
    assert fingerprint([("eventAt", instant)]) == fingerprint([("eventAt", elsewhere)])
