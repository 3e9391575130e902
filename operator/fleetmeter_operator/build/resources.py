"""What a part may use of a node: the region's own figures over the defaults."""

from __future__ import annotations

from fleetmeter_api.base import Model
from fleetmeter_operator.build.site import Object


def declared(resources: Model | None, default: Object) -> Object:
    """The region's requests and limits where it gives any, else `default`."""
    if resources is None:
        return default
    given: Object = resources.wire()
    return {
        section: {**default.get(section, {}), **given.get(section, {})}
        for section in ("requests", "limits")
        if default.get(section) or given.get(section)
    }
