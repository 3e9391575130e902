"""From a pydantic model to the structural OpenAPI schema that a CustomResourceDefinition takes."""

from collections.abc import Callable
from typing import Any, cast

from pydantic import BaseModel

from fleetmeter_api.base import JsonSchema, unbounded

_PLAIN = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
_MORE = ("minProperties", "maxProperties", "minimum", "maximum", "required", "default")
_KUBERNETES = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations")
_KEPT = (*_PLAIN, *_MORE, *_KUBERNETES)
_DROPPED = {"title", "$defs"}


class SchemaError(ValueError):
    """A model that the API server could not take, or that leaves something unbounded."""


def structural_schema(model: type[BaseModel]) -> JsonSchema:
    """The structural schema of a model: references inlined, rules and list types beside each field.

    Raises SchemaError where the model says something that has no place in the CRD dialect
    (kubernetes.io, "Extend the Kubernetes API with CustomResourceDefinitions"), or has no bounds.
    """
    source = model.model_json_schema()
    definitions = cast("dict[str, JsonSchema]", source.get("$defs", {}))
    result = _structural(source, definitions, model.__name__, ())
    faults = list(unbounded(result, model.__name__))
    if faults:
        raise SchemaError("; ".join(faults))
    return result


def _structural(
    source: JsonSchema, definitions: dict[str, JsonSchema], path: str, inside: tuple[str, ...]
) -> JsonSchema:
    source, inside = _inlined(source, definitions, path, inside)

    def nested(child: JsonSchema, name: str) -> JsonSchema:
        return _structural(child, definitions, f"{path}.{name}", inside)

    result: JsonSchema = {}
    for key, value in source.items():
        result |= _translated(key, value, path, nested)
    return _completed(result, path)


def _translated(
    key: str, value: Any, path: str, nested: Callable[[JsonSchema, str], JsonSchema]
) -> JsonSchema:
    """One key as the CRD dialect has it; `nested` does the same with a schema inside."""
    if key in _KEPT:
        return {key: value}
    if key in _CONVERTED:
        return _CONVERTED[key](value, path)
    if key == "properties":
        fields = cast("dict[str, JsonSchema]", value)
        return {key: {name: nested(child, name) for name, child in fields.items()}}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return {key: nested(cast("JsonSchema", value), key)}
    if key not in _DROPPED and value is not False:
        raise SchemaError(f"{path}: {key} has no place in a CRD; use another type for the field")
    return {}


def _inlined(
    source: JsonSchema, definitions: dict[str, JsonSchema], path: str, inside: tuple[str, ...]
) -> tuple[JsonSchema, tuple[str, ...]]:
    """Follow references and drop the null of an optional field until neither is left."""
    while "$ref" in source or "anyOf" in source:
        source = dict(source)
        if "$ref" in source:
            name = str(source.pop("$ref")).removeprefix("#/$defs/")
            if name in inside:
                raise SchemaError(f"{path}: {name} contains itself; a structural schema cannot recurse")
            inside, source = (*inside, name), _merged(definitions[name], source)
            continue
        choices = cast("list[JsonSchema]", source.pop("anyOf"))
        branches = [choice for choice in choices if choice.get("type") != "null"]
        if len(branches) != 1:
            raise SchemaError(f"{path}: a field has one type; use a type field and one member a type")
        if source.get("default", ...) is None:
            del source["default"]
        source = _merged(branches[0], source)
    return source, inside


def _merged(inner: JsonSchema, outer: JsonSchema) -> JsonSchema:
    """The outer keys win, but rules of both hold."""
    rules = "x-kubernetes-validations"
    both = [*inner.get(rules, []), *outer.get(rules, [])]
    return {**inner, **outer, **({rules: both} if both else {})}


def _completed(schema: JsonSchema, path: str) -> JsonSchema:
    """Add what the API server would assume, and put the keys in one order."""
    kind = schema.get("type")
    if kind is None:
        raise SchemaError(f"{path}: no type; every field needs one")
    if kind == "integer":
        schema.setdefault("format", "int64")
    if "default" in schema:
        schema["default"] = _without_null(schema["default"])
    if kind == "array":
        schema.setdefault("x-kubernetes-list-type", "atomic")
    order = (*_KEPT[:2], "properties", "items", "additionalProperties", *_KEPT[2:])
    ranks = {key: rank for rank, key in enumerate(order)}
    return dict(sorted(schema.items(), key=lambda item: ranks.get(item[0], len(ranks))))


def _without_null(value: Any) -> Any:
    """A default as the API server takes it: an absent field is left out, not null."""
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    return {name: _without_null(field) for name, field in fields.items() if field is not None}


def _const(value: Any, path: str) -> JsonSchema:
    return {"enum": [value]}


def _exclusive(bound: str) -> Callable[[Any, str], JsonSchema]:
    def convert(value: Any, path: str) -> JsonSchema:
        if not isinstance(value, int):
            raise SchemaError(f"{path}: an exclusive bound must be a whole number")
        return {bound: value, f"exclusive{bound.capitalize()}": True}

    return convert


# JSON schema's exclusive bounds are numbers, OpenAPI 3.0's are flags; `const` is an enum of one.
_CONVERTED: dict[str, Callable[[Any, str], JsonSchema]] = {
    "const": _const,
    "exclusiveMinimum": _exclusive("minimum"),
    "exclusiveMaximum": _exclusive("maximum"),
}
