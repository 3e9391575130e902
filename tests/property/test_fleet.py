"""A simulated fleet: its outages, clocks, sequences and edges are as promised, whatever the seed."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmeter_cli.fleet.chance import chance
from fleetmeter_cli.fleet.fleet import MESSAGES, TRUTH, Fleet
from fleetmeter_cli.fleet.instant import DAY, HOUR, MINUTE, at_midnight, month, month_edges, rfc3339
from fleetmeter_cli.fleet.link import Link
from fleetmeter_cli.fleet.outage import APART, GRACE, Outage, outages, storms
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.fleet.wall_clock import Habit, wall_clock

START = at_midnight(date(2026, 3, 25))
seeds = st.integers(0, 1 << 32)
instants = st.integers(0, at_midnight(date(2190, 1, 1)))
profiles = st.builds(
    Profile,
    devices=st.integers(1, 4),
    days=st.integers(1, 20),
    seed=seeds,
    every_seconds=st.sampled_from([3000, 7200, 40_000]),
    wrong_clocks=st.sampled_from([0.0, 0.5, 1.0]),
    boundary_outages=st.sampled_from([0.0, 0.5, 1.0]),
    outages=st.sampled_from([0.0, 5.0]),
    long_outages=st.sampled_from([0.0, 0.5]),
    reboots=st.sampled_from([0.0, 20.0]),
    replaced=st.sampled_from([0.0, 0.5]),
    sold=st.sampled_from([0.0, 0.5]),
    retransmitted=st.sampled_from([0.0, 0.3]),
    lost=st.sampled_from([0.0, 0.1]),
    poison=st.sampled_from([0.0, 0.2]),
)


def _objects(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(cast("dict[str, Any]", value))
    return found


def _written(profile: Profile) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]], Fleet]]:
    with TemporaryDirectory() as folder:
        fleet = Fleet(profile)
        for _ in fleet.write(Path(folder)):
            pass
        yield _objects(Path(folder) / MESSAGES), _objects(Path(folder) / TRUTH), fleet


@given(instants)
def test_instants_are_written_as_python_writes_them(instant: int) -> None:
    text = rfc3339(instant)
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == instant
    assert month(instant) == text[:7]
    edges = month_edges(instant, instant + 70 * DAY)
    assert 2 <= len(edges) <= 3
    assert all(rfc3339(edge).endswith("-01T00:00:00.000Z") for edge in edges)
    assert edges == sorted(set(edges))


@given(seeds, st.floats(0, 20), st.floats(0, 1), st.floats(0, 20))
def test_outages_are_apart_and_over_before_the_cut_off(
    seed: int, often: float, long: float, stormy: float
) -> None:
    profile = Profile(devices=1, days=60, seed=seed, outages=often, long_outages=long, storms=stormy)
    source = chance(seed)
    found = outages(profile, storms(profile, source), START, START + 60 * DAY, source)
    for first, second in pairwise(found):
        assert first.end + APART < second.start
    for outage in found:
        assert outage.length > 0
        for edge in month_edges(outage.start, outage.end):
            assert outage.end - edge < GRACE


@given(seeds)
def test_a_late_device_is_back_after_the_cut_off(seed: int) -> None:
    profile = Profile(devices=1, days=14, seed=seed, late=1.0, long_outages=0.0)
    found = outages(profile, [], START, START + 14 * DAY, chance(seed))
    edge = at_midnight(date(2026, 4, 1))
    assert any(outage.start < edge and outage.end > edge + GRACE for outage in found)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12, unique=True), st.integers(0, 1010))
def test_a_link_is_up_after_its_outage(times: list[int], instant: int) -> None:
    ordered = sorted(times)[: len(times) // 2 * 2]
    offline = [Outage(a * HOUR, b * HOUR) for a, b in zip(ordered[::2], ordered[1::2], strict=True)]
    link = Link(offline)
    up = link.up(instant * HOUR)
    inside = [outage for outage in offline if outage.start <= instant * HOUR < outage.end]
    if inside:
        assert inside[0].end < up < inside[0].end + MINUTE
    else:
        assert instant * HOUR <= up <= instant * HOUR + MINUTE
    assert link.up(up) == up


@given(seeds, st.sampled_from(list(Habit)))
def test_a_clock_is_right_where_its_habit_says_so(seed: int, kind: Habit) -> None:
    source = chance(seed)
    offline = [Outage(START + 2 * DAY, START + 4 * DAY)]
    clock, started = wall_clock(kind, START, 20_000, offline, source)
    online = (START + DAY, START + 5 * DAY)
    errors = [clock.read(at) - at for at in online]
    if kind in (Habit.SYNCHRONISED, Habit.RESET, Habit.STEP):
        assert errors == [0, 0]
    else:
        assert all(abs(error) >= MINUTE // 2 for error in errors)
    stepped = clock.corrected(START + 4 * DAY - 1, START + 4 * DAY + 2000)
    assert stepped == (kind in (Habit.RESET, Habit.STEP))
    assert len(started) == stepped
    assert not clock.corrected(*online)


@settings(max_examples=15)
@given(profiles)
def test_what_arrives_is_what_the_truth_says(profile: Profile) -> None:
    for messages, truths, fleet in _written(profile):
        counts = fleet.contents.counts
        arrived = [true for true in truths if true["delivered"]]
        lost = len(truths) - len(arrived)
        assert lost == counts.get("events lost for good", 0)
        copies = counts.get("repeated copies", 0)
        assert counts["messages"] == len(arrived) + copies + counts.get("poison messages", 0)
        by_identity: defaultdict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
        for message in messages:
            if "eventAt" in message:
                by_identity[message["device"], message["epoch"], message["seq"]].append(message)
        assert len(by_identity) == len(arrived)
        first = sorted(min(copy["_timestamp"] for copy in copies) for copies in by_identity.values())
        assert first == sorted(true["received"] for true in arrived)


@settings(max_examples=15)
@given(profiles)
def test_no_event_is_near_an_edge(profile: Profile) -> None:
    edges = month_edges(profile.start_at, profile.end_at)
    for _, truths, _ in _written(profile):
        for true in truths:
            at = round(datetime.fromisoformat(true["true_time"]).timestamp() * 1000)
            assert profile.start_at <= at < profile.end_at
            assert all(abs(at - edge) >= profile.guard_seconds * 1000 for edge in edges)
            if true["received"] is not None:
                assert true["received"] > at
