"""Addresses of clusters, their record and their lock."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetmeter_cluster import state
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.state import NAMES, Place


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the state of the tests away from that of real clusters."""
    monkeypatch.setattr(state, "HOME", tmp_path)
    monkeypatch.setattr(state, "LOCKS", tmp_path)


def test_no_network_overlaps_another() -> None:
    places = [Place(name) for name in NAMES]
    networks = [one for place in places for one in (place.service_network, place.pod_network)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(networks, 2))
    assert not any(a.network.overlaps(b.network) for a, b in itertools.combinations(places, 2))


@pytest.mark.parametrize("name", NAMES)
def test_addresses_are_inside_their_networks(name: str) -> None:
    place = Place(name)
    services = [place.dns_address, place.api_service_address]
    assert {str(address) for address in place.service_network} >= set(services)
    assert {str(address) for address in place.network} >= {place.host_address, place.node_address, *services}
    assert place.node_address not in {str(address) for address in place.service_network}


@pytest.mark.parametrize("name", ["", "de", "../eu", "eu us"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(Failure, match="there can be no cluster"):
        Place(name)


def test_the_record_survives_a_round_trip() -> None:
    place = Place("eu")
    place.home.mkdir()
    place.finish(place.cluster())
    assert place.recorded() == place.cluster()


@pytest.mark.parametrize("text", ["", "{}", '{"name": "eu"', '{"name": 1}'])
def test_a_broken_record_is_no_record(text: str) -> None:
    place = Place("eu")
    place.home.mkdir()
    place.record.write_text(text)
    assert place.recorded() is None


def test_the_lock_lets_one_in_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    order: list[str] = []

    def hold() -> None:
        with state.locked(Place("eu")):
            order.append("in")
            # The others get the processor here, and must not get in.
            os.sched_yield()
            order.append("out")

    # A lock belongs to an open file, so threads exclude each other as processes do.
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(hold) for _ in range(200)]:
            future.result(timeout=60)
    assert order == ["in", "out"] * 200
    assert list(tmp_path.iterdir()) == []
