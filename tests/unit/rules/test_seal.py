"""Seal: what a period waits for, and what its digest depends on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fleetmeter_rules.seal import (
    BackfillHold,
    Digest,
    PartitionProgress,
    SealedRow,
    WaitingFor,
    digest,
    sealable,
)

START = datetime(2023, 3, 1, tzinfo=UTC)
END = datetime(2023, 4, 1, tzinfo=UTC)
CUT_OFF = datetime(2023, 4, 4, tzinfo=UTC)
CONSUMED = (PartitionProgress(0, 10, 10), PartitionProgress(1, 12, 7))


def waiting(
    now: datetime = CUT_OFF,
    partitions: tuple[PartitionProgress, ...] = CONSUMED,
    backfill: BackfillHold | None = None,
    contracts_loaded: bool = True,
) -> WaitingFor:
    found = sealable(START, END, CUT_OFF, now, partitions, backfill, contracts_loaded)
    assert found.sealable == (found.waiting_for is WaitingFor.NOTHING) == (found.message == "")
    return found.waiting_for


def test_consumed_past_the_cut_off_is_sealable() -> None:
    assert waiting() is WaitingFor.NOTHING


def test_never_before_the_cut_off() -> None:
    assert waiting(now=CUT_OFF - timedelta(microseconds=1)) is WaitingFor.CUT_OFF


@pytest.mark.parametrize(
    "partitions",
    [
        (PartitionProgress(0, 9, 10), PartitionProgress(1, 12, 7)),
        (PartitionProgress(0, 10, 10), PartitionProgress(1, 12, None)),
        (),
    ],
)
def test_a_partition_that_is_behind_holds_the_period(partitions: tuple[PartitionProgress, ...]) -> None:
    assert waiting(partitions=partitions) is WaitingFor.USAGE


def test_an_idle_empty_partition_holds_nothing() -> None:
    assert waiting(partitions=(PartitionProgress(0, 0, 0),)) is WaitingFor.NOTHING


def test_a_backfill_holds_the_periods_that_it_touches() -> None:
    open_ = BackfillHold(START, END, completed=False)
    assert waiting(backfill=open_) is WaitingFor.BACKFILL
    assert waiting(backfill=replace(open_, range_from=END, range_to=END + timedelta(1))) is WaitingFor.NOTHING
    assert (
        waiting(backfill=replace(open_, range_from=START - timedelta(1), range_to=START))
        is WaitingFor.NOTHING
    )
    assert waiting(backfill=replace(open_, range_to=START + timedelta(microseconds=1))) is WaitingFor.BACKFILL


def test_a_completed_backfill_holds_until_it_is_read() -> None:
    done = BackfillHold(START, END, completed=True, end_offsets=((0, 10), (1, 12)))
    assert waiting(backfill=done) is WaitingFor.NOTHING
    assert waiting(backfill=replace(done, end_offsets=((0, 11), (1, 12)))) is WaitingFor.BACKFILL
    assert waiting(backfill=replace(done, end_offsets=((2, 1),))) is WaitingFor.BACKFILL


def test_without_contracts_nothing_is_sealed() -> None:
    assert waiting(contracts_loaded=False) is WaitingFor.CONTRACTS


ROW = SealedRow("device-1", "sha256:aa", "messages", Decimal(1), START)


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, alias="device-2"),
        replace(ROW, event_id="sha256:ab"),
        replace(ROW, metric="bytes"),
        replace(ROW, quantity=Decimal("1.0000000001")),
        replace(ROW, event_at=START + timedelta(microseconds=1)),
    ],
)
def test_every_fact_of_a_row_is_in_the_digest(other: SealedRow) -> None:
    assert digest([ROW]) != digest([other])


def test_another_row_is_another_digest() -> None:
    assert digest([ROW]) != digest([ROW, replace(ROW, alias="device-2")])


def test_the_spelling_of_a_quantity_is_not() -> None:
    assert digest([ROW]) == digest([replace(ROW, quantity=Decimal("1.000"))])


def test_rows_out_of_order_or_twice_are_refused() -> None:
    later = replace(ROW, alias="device-2")
    with pytest.raises(ValueError, match="out of order"):
        Digest().add(later).add(ROW)
    with pytest.raises(ValueError, match="repeat"):
        digest([ROW, ROW])
    assert Digest().add(ROW).add(later).text() == digest([later, ROW])


def test_the_digest_of_nothing_is_fixed() -> None:
    assert digest([]) == "sha256:cd3b9ab2de0790883aa252562c6b0a573624e471390d4119e743ba2750262197"
