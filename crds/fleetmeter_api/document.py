"""A resource without its metadata: a name and a spec."""

from collections.abc import Mapping
from typing import Any, Self, cast

from fleetmeter_api.base import Model


class Document(Model):
    """Base of the documents that a resource becomes when it leaves the cluster."""

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Self:
        """Read a manifest: `metadata.name` and `spec`. Raises ValidationError (see `base.problems`)."""
        metadata = cast("Mapping[str, Any]", resource.get("metadata") or {})
        return cls.model_validate({"name": metadata.get("name"), "spec": resource.get("spec")})
