"""Whether a live object still holds what is desired, compared as the API server stores it."""

from __future__ import annotations

from typing import Any, cast

from fleetmeter_operator.build.quantity import quantity

# Lists that server-side apply merges by key; in these, entries of others are none of our business.
_KEYED = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
}
_ATOMIC_PARENTS = frozenset({"ingress", "egress"})
_QUANTITIES = frozenset({"requests", "limits"})


def holds(live: Any, desired: Any) -> bool:
    """Whether everything in `desired` is in `live`. A desired value that is empty equals an absent one."""
    return _holds(live, desired, "")


def _holds(live: Any, desired: Any, field: str) -> bool:
    if isinstance(desired, dict):
        return _map_holds(live, cast("dict[str, Any]", desired), field)
    if isinstance(desired, list):
        return _list_holds(live, cast("list[Any]", desired), field)
    if live is None and desired in ("", None):
        return True
    return live == desired and isinstance(live, bool) == isinstance(desired, bool)


def _map_holds(live: Any, desired: dict[str, Any], field: str) -> bool:
    if not isinstance(live, dict):
        return live is None and not desired
    there = cast("dict[str, Any]", live)
    if field in _QUANTITIES:
        return all(key in there and quantity(there[key]) == quantity(want) for key, want in desired.items())
    inside = field if field in _ATOMIC_PARENTS else ""
    return all(
        _holds(there.get(key), want, f"{inside}/{key}" if inside else key) for key, want in desired.items()
    )


def _list_holds(live: Any, desired: list[Any], field: str) -> bool:
    if not isinstance(live, list):
        return live is None and not desired
    there = cast("list[Any]", live)
    keys = _KEYED.get(field, ())
    if not keys or not all(isinstance(item, dict) for item in desired):
        # Entries of an atomic list inherit its name, so that lists inside it are atomic as well.
        return len(there) == len(desired) and all(
            _holds(item, want, field) for item, want in zip(there, desired, strict=True)
        )
    return all(
        any(_same_entry(item, want, keys) and _holds(item, want, "") for item in there) for want in desired
    )


def _same_entry(item: dict[str, Any], want: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return all(item.get(key) == want.get(key) for key in keys if key in want)
