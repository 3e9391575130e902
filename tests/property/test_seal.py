"""Seal: no record that was received in time can still be unread, and the digest is a set's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_rules.seal import (
    BackfillHold,
    Doubts,
    PartitionProgress,
    SealedRow,
    WaitingFor,
    awaits_a_person,
    digest,
    sealable,
)

START = datetime(2023, 3, 1, tzinfo=UTC)
END, CUT_OFF = START + timedelta(days=31), START + timedelta(days=34)
moments = st.integers(-5, 45).map(lambda day: START + timedelta(days=day))


@given(st.lists(st.lists(moments, max_size=6).map(sorted), max_size=4), st.data(), moments)
def test_sealed_means_that_everything_received_in_time_was_read(
    logs: list[list[datetime]], data: st.DataObject, now: datetime
) -> None:
    """Each partition is a log of receive times; the oracle looks for an unread record before the cut-off."""
    partitions: list[PartitionProgress] = []
    unread = False
    for number, log in enumerate(logs):
        position = data.draw(st.integers(0, len(log)))
        required = next((offset for offset, at in enumerate(log) if at >= CUT_OFF), len(log))
        partitions.append(PartitionProgress(number, position, required))
        unread = unread or any(at < CUT_OFF for at in log[position:])
    found = sealable(START, END, CUT_OFF, now, partitions)
    assert found.sealable == (now >= CUT_OFF and bool(logs) and not unread)
    if now >= CUT_OFF and not found.sealable:
        assert found.waiting_for is WaitingFor.USAGE


@given(moments, moments, st.booleans(), st.integers(0, 3), st.integers(0, 3))
def test_a_backfill_holds_what_it_touches(
    one: datetime, other: datetime, completed: bool, position: int, end: int
) -> None:
    hold = BackfillHold(min(one, other), max(one, other) + timedelta(days=1), completed, ((0, end),))
    found = sealable(START, END, CUT_OFF, CUT_OFF, [PartitionProgress(0, position, 0)], hold)
    days = [START + timedelta(days=day) for day in range(-5, 46)]
    touches = any(hold.range_from <= day < hold.range_to and START <= day < END for day in days)
    read = completed and position >= end
    assert found.sealable == (not touches or read)


numbers = st.integers(0, 4)


@given(numbers, numbers, st.none() | numbers, numbers, numbers, st.booleans(), numbers, numbers)
def test_a_person_is_waited_for_only_by_contract_and_only_until_they_have_decided(
    candidates: int,
    decided: int,
    threshold: int | None,
    missing: int,
    silent: int,
    hold: bool,
    taken_missing: int,
    taken_silent: int,
) -> None:
    doubts = Doubts(
        candidates, min(decided, candidates), threshold, missing, silent, hold, taken_missing, taken_silent
    )
    found = awaits_a_person(doubts, "eu-202303")
    by_review = threshold is not None and doubts.candidates - doubts.decided > threshold
    by_usage = hold and (missing > taken_missing or silent > taken_silent)
    assert found.sealable == (not by_review and not by_usage)
    if not found.sealable:
        assert found.waiting_for is (WaitingFor.COMPLETE_USAGE if by_usage else WaitingFor.REVIEW)
        assert "--billing-period eu-202303" in found.message
    everything = replace(doubts, decided=candidates, taken_missing=missing, taken_silent=silent)
    assert awaits_a_person(everything, "eu-202303").sealable
    assert awaits_a_person(replace(doubts, threshold=None, hold_incomplete=False), "eu-202303").sealable


rows = st.builds(
    SealedRow,
    alias=st.text("ab\u00e9\U0001f600", min_size=1, max_size=3),
    event_id=st.integers(0, 9).map("sha256:{}".format),
    metric=st.sampled_from(["messages", "energy"]),
    quantity=st.decimals(0, 10, places=2).map(Decimal),
    event_at=moments,
)
snapshots = st.lists(rows, unique_by=lambda row: (row.alias, row.event_id), max_size=6)


@given(snapshots, st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order(snapshot: list[SealedRow], shuffler: Random) -> None:
    first = digest(snapshot)
    shuffler.shuffle(snapshot)
    assert digest(snapshot) == first


@given(snapshots, snapshots)
def test_two_snapshots_have_two_digests(one: list[SealedRow], other: list[SealedRow]) -> None:
    assert (digest(one) == digest(other)) == (set(one) == set(other))
