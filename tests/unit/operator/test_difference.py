"""Whether a live object still holds what is desired, as the API server stores it."""

from typing import Any

import pytest

from fleetmeter_operator.build.quantity import quantity
from fleetmeter_operator.cluster.apply import stamped
from fleetmeter_operator.cluster.difference import holds

CONTAINER = {"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}]}


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({}, {"a": ""}),
        ({}, {"a": None}),
        ({}, {"a": {}}),
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "1024Mi"}}),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1000m"}}),
        ({"containers": [{**CONTAINER, "added": 1}, {"name": "b"}]}, {"containers": [CONTAINER]}),
        ({"env": [{"name": "Y"}, {"name": "X", "value": "1"}]}, {"env": [{"name": "X", "value": "1"}]}),
    ],
)
def test_what_others_and_defaults_add_is_no_difference(live: Any, desired: Any) -> None:
    assert holds(live, desired)


DRIFT: list[tuple[Any, Any]] = [
    ({"a": 2}, {"a": 1}),
    ({}, {"a": 1}),
    ({}, {"a": False}),
    ({"a": 1}, {"a": True}),
    ({"requests": {"memory": "2Gi"}}, {"requests": {"memory": "1024Mi"}}),
    ({"containers": [{"name": "b"}]}, {"containers": [CONTAINER]}),
    ({"env": [{"name": "X", "value": "2"}]}, {"env": [{"name": "X", "value": "1"}]}),
    ({"args": ["a", "b"]}, {"args": ["a"]}),
    ({"args": ["b", "a"]}, {"args": ["a", "b"]}),
    ({"ingress": [{"ports": [{"port": 1}, {"port": 2}]}]}, {"ingress": [{"ports": [{"port": 1}]}]}),
    ({"ingress": [{"from": [{}]}, {"from": []}]}, {"ingress": [{"from": [{}]}]}),
]


@pytest.mark.parametrize(("live", "desired"), DRIFT)
def test_drift_in_what_we_own_is_a_difference(live: Any, desired: Any) -> None:
    assert not holds(live, desired)


def test_a_field_that_is_dropped_changes_the_stamp() -> None:
    full = stamped({"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}})
    less = stamped({"metadata": {"name": "a"}, "spec": {"x": 1}})
    assert holds(full, full)
    assert not holds(full, less)


@pytest.mark.parametrize("text", ["", "abc", "1Q"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)
