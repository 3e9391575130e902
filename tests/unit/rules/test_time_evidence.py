"""Time evidence: every quality and flag that the rules can give comes back from its number."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.event_time import (
    ClassRules,
    DeviceTime,
    Quality,
    Resolved,
    TimeMethod,
    resolve_event_time,
)
from fleetmeter_rules.time_evidence import NOT_RECORDED, TimeEvidence, in_words, pack, readable, unpack

R = datetime(2026, 4, 1, 12, tzinfo=UTC)
FLAGS = (
    "second_60",
    "event_time_unreadable",
    "gps_rollover",
    "seconds_for_milliseconds",
    "counter_wrap",
    "local_time",
    "hybrid",
    "fallback",
)


@given(st.sampled_from(Quality), st.lists(st.sampled_from(FLAGS), unique=True))
def test_nothing_is_lost(quality: Quality, flags: list[str]) -> None:
    number = pack(Resolved(R, timedelta(0), TimeMethod.DEVICE, quality, tuple(flags)))
    assert 0 < number < 1 << 15
    assert unpack(number) == TimeEvidence(quality, tuple(flag for flag in FLAGS if flag in flags))


@pytest.mark.parametrize("fallback", ["Quarantine", "Received", "Hybrid"])
@given(hours=st.integers(-30_000, 200_000), sent=st.none() | st.integers(-5000, 5000), stepped=st.booleans())
def test_whatever_the_rules_find_has_a_number(
    fallback: str, hours: int, sent: int | None, stepped: bool
) -> None:
    """No flag that the rules give is without a bit of its own."""
    event_at = R - timedelta(hours=hours)
    sent_at = None if sent is None else event_at + timedelta(hours=sent)
    device = DeviceTime(event_at, sent_at, clock_stepped=stepped)
    found = resolve_event_time(device, R, ClassRules(fallback=fallback))  # pyright: ignore
    if isinstance(found, Resolved):
        kept = unpack(pack(found))
        assert kept.quality is found.quality
        assert set(found.flags) <= set(kept.flags)
        assert "other" not in kept.flags


@pytest.mark.parametrize(
    ("clock", "flag"), [(timedelta(hours=-2), "clock_behind"), (timedelta(hours=2), "clock_ahead")]
)
def test_a_clock_that_is_off_is_evidence(clock: timedelta, flag: str) -> None:
    """The device's clock shows two hours too little or too much, by the pair that the message holds."""
    device = DeviceTime(R + clock - timedelta(minutes=1), R + clock)
    found = resolve_event_time(device, R, ClassRules(tolerance=timedelta(days=1)))
    assert isinstance(found, Resolved)
    assert unpack(pack(found)).flags == (flag,)


def test_a_flag_without_a_bit_is_not_lost() -> None:
    found = Resolved(R, timedelta(0), TimeMethod.DEVICE, Quality.UNVERIFIED, ("never_seen",))
    assert unpack(pack(found)) == TimeEvidence(Quality.UNVERIFIED, ("other",))


def test_a_row_of_before() -> None:
    assert unpack(NOT_RECORDED) == TimeEvidence(None)


@pytest.mark.parametrize("number", [-1, 5, 7, 1 << 15])
def test_a_newer_number_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="newer version"):
        unpack(number)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (NOT_RECORDED, "unknown"),
        (pack(Resolved(R, timedelta(0), TimeMethod.UPTIME, Quality.TRUSTED)), "trusted"),
        (
            pack(Resolved(R, timedelta(0), TimeMethod.SENT_AT, Quality.CORRECTED, (), timedelta(hours=1))),
            "corrected; clock behind",
        ),
        (
            pack(Resolved(R, timedelta(0), TimeMethod.DEVICE, Quality.UNVERIFIED, ("clock_unset",))),
            "unverified; clock never set",
        ),
    ],
)
def test_people_read_words(number: int, words: str) -> None:
    found = unpack(number)
    assert in_words(found.quality, found.flags) == words


def test_a_newer_name_is_shown_as_it_is_written() -> None:
    assert in_words("guessed", ["never_seen"]) == "guessed; never seen"


def test_a_newer_number_is_unknown_to_a_reader() -> None:
    assert readable(7) == TimeEvidence(None)
    assert readable(1) == TimeEvidence(Quality.RECEIVED)
