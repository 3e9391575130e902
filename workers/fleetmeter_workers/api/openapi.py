"""The OpenAPI document, made from the endpoints that are served."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from fleetmeter_workers.api.endpoint import Endpoint
from fleetmeter_workers.api.refusal import RefusalBody

_PATH_PARAMETER = re.compile(r"{(\w+)}")
_FORM = {"application/x-ndjson": "One JSON object a line", "application/json": "One JSON object"}


def describe(endpoints: Sequence[Endpoint], region: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these endpoints."""
    types = {kind for each in endpoints for kind in (each.answer, each.body) if kind not in (None, dict)}
    ordered = [*sorted(types, key=lambda kind: kind.__name__), RefusalBody]
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Fleetmeter region {region}",
            "version": "1",
            "description": "Amounts and quantities are decimal strings. Errors tell the remedy.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(endpoint.path)
    ]
    parameters += [
        {"name": each.name, "in": "query", "description": each.meaning, "schema": {"type": "string"}}
        for each in endpoint.parameters
    ]
    schema = {"type": "string"} if endpoint.answer is None else _reference(endpoint.answer)
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {endpoint.media: {"schema": schema}}},
            "default": {
                "description": "Refused: what is wrong, and what to do.",
                "content": {"application/json": {"schema": _reference(RefusalBody)}},
            },
        },
    }
    if endpoint.role is not None:
        operation["security"] = [{"token": []}]
        operation["description"] = f"Needs the role {endpoint.role}."
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "description": f"{_FORM[endpoint.takes]}, at most {endpoint.most_bytes:,} bytes in all.",
            "content": {endpoint.takes: {"schema": _reference(endpoint.body)}},
        }
    return operation


def _reference(kind: type) -> dict[str, str]:
    if kind is dict:
        return {"type": "object"}
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
