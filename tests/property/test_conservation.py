"""Conservation: counting a stream record by record keeps the law; dropping or doubling one breaks it."""

from dataclasses import fields, replace

from hypothesis import assume, given
from hypothesis import strategies as st

from fleetmeter_rules.conservation import Counters, violations

VERDICTS = ["billed", "duplicate", "quarantined"]
records = st.one_of(
    st.just("not_billable"), st.just("undecodable"), st.lists(st.sampled_from(VERDICTS), max_size=4)
)


def counted(record: str | list[str]) -> Counters:
    if isinstance(record, str):
        return replace(Counters(records=1), **{record: 1})
    counts = {verdict: record.count(verdict) for verdict in VERDICTS}
    return replace(Counters(records=1, decoded=1, items=len(record)), **counts)


def total(stream: list[str | list[str]]) -> Counters:
    return sum((counted(record) for record in stream), Counters())


@given(st.lists(records, max_size=30))
def test_counting_keeps_the_law(stream: list[str | list[str]]) -> None:
    assert violations(total(stream)) == []


@given(
    st.lists(records, max_size=30), st.sampled_from([f.name for f in fields(Counters)]), st.integers(-3, 3)
)
def test_any_miscount_breaks_it(stream: list[str | list[str]], name: str, by: int) -> None:
    assume(by != 0)
    kept = total(stream)
    assert violations(replace(kept, **{name: getattr(kept, name) + by}))
