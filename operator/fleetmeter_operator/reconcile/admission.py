"""Whether a region can be served: a spec that is valid, of this jurisdiction, with engines that are built."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.region import Region
from fleetmeter_operator.build.site import Images, Object, Site

_SERVED_ENGINES = {"broker": ("Embedded",), "store": ("Embedded",), "mqtt": ("None", "Embedded")}


@dataclass(frozen=True)
class Refusal:
    """Why a region is not served: one word, and what to do."""

    reason: str
    message: str


def admit(
    resource: Object, images: Images, jurisdiction: str, metrics_from: tuple[Object, ...] = ()
) -> Site | Refusal:
    """The region's site, or why there is none; nothing is created for a refused region."""
    try:
        region = Region.from_resource(resource)
    except ValidationError as error:
        return Refusal("InvalidSpec", "; ".join(problems(error)))
    spec = region.spec
    if spec.jurisdiction != jurisdiction:
        return Refusal(
            "WrongJurisdiction",
            f"the region is of jurisdiction {spec.jurisdiction}, this operator serves {jurisdiction};"
            " nothing is created here. Apply it in the cluster whose release names its jurisdiction",
        )
    for field, served in _SERVED_ENGINES.items():
        engine = getattr(spec, field).type
        if engine not in served:
            return Refusal(
                "EngineNotSupported",
                f"spec.{field}.type {engine} is not built yet; use {' or '.join(served)} in a new region",
            )
    metadata = resource["metadata"]
    return Site(region.name, metadata["namespace"], metadata["uid"], spec, images, metrics_from)
