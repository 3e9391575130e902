"""Trial: the same bill for the same messages, however often and in whatever order they come."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fleetmeter_api.contract import LateUsagePolicy
from fleetmeter_api.region import DeviceClass, Metric
from fleetmeter_cli.tally import Place
from fleetmeter_cli.trial import Decision, Device, Setting, Trial, adapter_of
from fleetmeter_rules.calendar import BilledTime, Calendar
from fleetmeter_rules.contracts import Defaults
from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.number import plain
from fleetmeter_rules.ownership import Binding

TRACES = Path(__file__).parents[3] / "examples" / "traces"
TERMS = Defaults(Calendar(), timedelta(hours=72), "Grace")
MARCH_END = datetime(2026, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def helium() -> list[tuple[bytes, int]]:
    lines = gzip.decompress((TRACES / "helium-ems-04b1c1.ndjson.gz").read_bytes()).splitlines()
    return [(line, json.loads(line)["_timestamp"] * 1000) for line in lines]


def billed(messages: list[tuple[bytes, int]], calendar: Calendar | None = None) -> dict[str, tuple[int, str]]:
    terms = TERMS if calendar is None else Defaults(calendar, TERMS.grace, "Grace")
    trial = Trial(Setting(terms))
    for raw, received in messages:
        trial.take("helium", raw, received)
    return {place.period: (tally.events, str(tally.quantity)) for place, tally in trial.tallies.items()}


def test_doubled_shuffled_and_delayed_traces_are_the_same_bill() -> None:
    messages = helium()[:2500]
    expected = billed(messages)
    months = {period: events for period, (events, _) in expected.items()}
    assert (months["2023-01"], months["2023-03"]) == (739, 310)
    assert 0 < months["2023-05"] < 1917
    firsts: dict[tuple[str, int], tuple[bytes, int]] = {}
    copies: list[tuple[bytes, int]] = []
    for raw, received in messages:
        frame = json.loads(raw)
        if firsts.setdefault((frame["devaddr"], frame["fcnt"]), (raw, received)) != (raw, received):
            copies.append((raw, received))
    shuffled = list(firsts.values())
    Random(7).shuffle(shuffled)
    delayed = [(raw, received + 1_800_000_000) for raw, received in copies]
    assert billed(messages + messages) == expected
    assert billed(shuffled + copies[::-1]) == expected
    assert billed(sorted([*firsts.values(), *delayed], key=lambda message: message[1])) == expected


def test_another_zone_moves_frames_over_the_edge_and_loses_none() -> None:
    paris = billed(helium(), Calendar("Europe/Paris"))
    assert sum(events for events, _ in paris.values()) == 6144
    by_hand: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    for raw, received in helium():
        frame = json.loads(raw)
        if (frame["devaddr"], frame["fcnt"]) not in seen:
            seen.add((frame["devaddr"], frame["fcnt"]))
            summer = received >= to_micros(datetime(2023, 3, 26, 1, tzinfo=UTC))
            local = datetime(1970, 1, 1) + timedelta(microseconds=received, hours=2 if summer else 1)  # noqa: DTZ001  local by hand
            by_hand[f"{local:%Y-%m}"] = by_hand.get(f"{local:%Y-%m}", 0) + 1
    assert {period: events for period, (events, _) in paris.items()} == by_hand


def envelope(device: str = "pump-7", **fields: Any) -> bytes:
    return json.dumps({"device": device, "epoch": 1, "seq": 1, **fields}).encode()


def decided(setting: Setting, *messages: tuple[bytes, datetime | None]) -> list[Decision]:
    trial = Trial(setting)
    found = [
        trial.take("json", raw, None if received is None else to_micros(received))
        for raw, received in messages
    ]
    assert trial.read == len(messages)
    in_periods = sum(t.events + t.duplicates + t.quarantined.total() for t in trial.tallies.values())
    assert in_periods + trial.unusable.total() == trial.read
    return found


def stamped(age: timedelta, received: datetime, seq: int = 1) -> bytes:
    sent = received.isoformat()
    return envelope(seq=seq, eventAt=(received - age).isoformat(), sentAt=sent)


def test_verdicts() -> None:
    in_grace, after = MARCH_END + 6 * HOUR, MARCH_END + 72 * HOUR
    found = decided(
        Setting(TERMS),
        (stamped(7 * HOUR, in_grace), in_grace),
        (stamped(73 * HOUR, after), after),
        (stamped(80 * HOUR, after, seq=2), after),
        (envelope(seq=2), after),
        (envelope(seq=3, eventAt="yesterday"), after),
        (b"[]", after),
        (envelope(seq=4), None),
    )
    assert [(d.verdict, d.reason, d.late, d.period) for d in found] == [
        ("billed", None, True, "2026-03"),
        ("duplicate", None, True, "2026-03"),
        ("quarantined", "late_after_final", True, "2026-03"),
        ("quarantined", "id_conflict", False, "2026-04"),
        ("quarantined", "time_ambiguous", False, "2026-04"),
        ("unusable", "unparseable", False, None),
        ("unusable", "no_receive_time", False, None),
    ]


def test_owners_and_classes_come_from_the_registry() -> None:
    sold = MARCH_END - 24 * HOUR
    start = MARCH_END - 1000 * HOUR
    registry = {
        "pump-7": Device("default", (Binding("seller", start, None, 1), Binding("buyer", sold, None, 2))),
        "pump-8": Device("strange", (Binding("seller", start, None, 3),)),
    }
    classes = (DeviceClass(name="default"), DeviceClass(name="weak", identity_methods=("ContentHash",)))
    found = decided(
        Setting(TERMS, registry, classes),
        (stamped(2 * HOUR, sold + HOUR), sold + HOUR),
        (stamped(HOUR, sold + HOUR, seq=2), sold + HOUR),
        (envelope(seq=3), start - HOUR),
        (envelope("pump-8"), sold),
        (envelope("pump-9"), sold),
    )
    assert [(d.customer, d.verdict, d.reason) for d in found] == [
        ("seller", "billed", None),
        ("buyer", "billed", None),
        ("unknown", "quarantined", "no_contract"),
        ("seller", "quarantined", "identity_not_allowed"),
        ("unknown", "quarantined", "unknown_device"),
    ]


def test_a_sold_meter_runs_on_and_its_level_does_not() -> None:
    start, sold = MARCH_END - 600 * HOUR, MARCH_END - 100 * HOUR
    owners = (Binding("seller", start, None, 1), Binding("buyer", sold, None, 2))
    kinds = {
        "energy": Metric(code="energy", kind="Cumulative", unit="kW.h"),
        "stored": Metric(code="stored", kind="Gauge", unit="GB", aggregation="TimeWeighted"),
    }
    trial = Trial(Setting(TERMS, {"pump-7": Device("default", owners)}, kinds=kinds))
    shown = [(sold - 2 * HOUR, 100), (sold - HOUR, 130), (sold + HOUR, 150), (MARCH_END + HOUR, 155)]
    for seq, (at, value) in reversed([*enumerate(shown)]):
        items = [{"metric": "energy", "quantity": value}, {"metric": "stored", "quantity": value}]
        trial.take("json", envelope(seq=seq, eventAt=at.isoformat(), items=items), to_micros(at))
    trial.measure()
    found = {(p.customer, p.metric, p.period): plain(t.quantity) for p, t in trial.tallies.items()}
    assert found == {
        ("seller", "energy", "2026-03"): "30",
        ("buyer", "energy", "2026-03"): "20",
        ("buyer", "energy", "2026-04"): "5",
        ("seller", "stored", "2026-03"): "129.7058823529",
        ("buyer", "stored", "2026-03"): "150",
        ("buyer", "stored", "2026-04"): "154.9930555556",
    }


LATE = [
    ("meter-1", "energy", "2026-01-10", "100", 0),
    ("meter-1", "energy", "2026-01-20", "150", 0),
    ("meter-1", "energy", "2026-01-30", "210", 6),
    ("meter-1", "energy", "2026-02-10", "300", 0),
    ("meter-1", "energy", "2026-02-20", "350", 50),
    ("meter-1", "energy", "2026-02-27", "400", 6),
    ("sensor-1", "stored", "2026-01-28", "4", 7),
    ("sensor-1", "stored", "2026-01-30", "10", 0),
]
"""Readings and after how many days they came: in time, after the cut-off, after a later one was billed."""


@pytest.mark.parametrize(
    ("policy", "own", "deferred"),
    [
        (
            "Defer",
            {"2026-01 energy": "50", "2026-01 stored": "10", "2026-02 energy": "90"},
            {
                "2026-01 energy on 2026-02": "60",
                "2026-01 stored on 2026-02": "-3",
                "2026-02 energy on 2026-03": "100",
                "2026-02 energy on 2026-04": "0",
            },
        ),
        ("Reopen", {"2026-01 energy": "110", "2026-01 stored": "7", "2026-02 energy": "190"}, {}),
    ],
)
def test_late_readings_are_billed_once(
    policy: LateUsagePolicy, own: dict[str, str], deferred: dict[str, str]
) -> None:
    """A late reading adds what the whole grows by: its step, nothing once a later reading was billed; a late
    level changes its month's."""
    kinds = {
        "energy": Metric(code="energy", kind="Cumulative", unit="kW.h"),
        "stored": Metric(code="stored", kind="Gauge", unit="GB", aggregation="TimeWeighted"),
    }
    classes = (DeviceClass(name="default", max_offline_seconds=8_640_000),)
    trial = Trial(Setting(Defaults(Calendar(), timedelta(hours=72), policy), None, classes, kinds=kinds))
    for seq, (device, metric, day, value, late) in reversed([*enumerate(LATE)]):
        at = datetime.fromisoformat(f"{day}T00:00:00Z")
        items = [{"metric": metric, "quantity": value}]
        raw = envelope(device, seq=seq, eventAt=at.isoformat(), items=items)
        trial.take("json", raw, to_micros(at + timedelta(days=late)))
    trial.measure()
    trial.measure()
    tallies = {place: tally for place, tally in trial.tallies.items() if tally.own.events}
    assert {f"{p.period} {p.metric}": plain(tally.own.quantity) for p, tally in tallies.items()} == own
    assert {
        f"{month} {place.metric} on {place.period}": plain(usage.quantity)
        for place, tally in trial.tallies.items()
        for month, usage in tally.deferred.items()
    } == deferred


def test_a_regions_time_ends_with_its_last_period() -> None:
    terms = Defaults(Calendar(), timedelta(0), "Defer")
    march = BilledTime(MARCH_END - 31 * 24 * HOUR, MARCH_END)
    found = decided(
        Setting(terms, billed=march),
        (stamped(2 * HOUR, MARCH_END + HOUR), MARCH_END + HOUR),
        (stamped(HOUR, MARCH_END + HOUR, seq=2), MARCH_END + HOUR),
    )
    assert [(d.verdict, d.reason, d.period) for d in found] == [
        ("quarantined", "late_after_final", "2026-03"),
        ("quarantined", "no_contract", "2026-04"),
    ]


def test_only_metrics_that_count_are_counted() -> None:
    items = [{"metric": "energy", "quantity": "1.5"}, {"metric": "water", "quantity": "2"}]
    trial = Trial(Setting(TERMS, metrics=frozenset({"energy"})))
    trial.take("json", envelope(items=items), to_micros(MARCH_END))
    assert [(place, str(tally.quantity)) for place, tally in trial.tallies.items()] == [
        (Place("default", "energy", "2026-04"), "1.5")
    ]
    everything = Trial(Setting(TERMS))
    everything.take("json", envelope(items=items), to_micros(MARCH_END))
    assert [place.metric for place in everything.tallies] == ["energy", "water"]


@pytest.mark.parametrize(
    ("line", "adapter"),
    [
        (b'{"dev_eui": "x"}', "helium"),
        (b'{"devEUI": "x"}', "chirpstack"),
        (b'{"deviceInfo": {}}', "chirpstack"),
        (b'{"device": "x"}', "json"),
        (b"[]", None),
        (b"broken", None),
    ],
)
def test_the_platform_is_told_by_its_names(line: bytes, adapter: str | None) -> None:
    assert adapter_of(line) == adapter
