"""The base of every model: camelCase outside, nothing unbounded, rules that cluster and Python both hold."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

JsonSchema = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One rule of an object: `cel` for the API server, `holds` the same in Python.

    `message` says what to do when it fails. A rule over old and new objects (`oldSelf`) has no `holds`:
    a file alone has no old object.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None

    def schema(self) -> JsonSchema:
        """The rule as an entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}


@dataclass(frozen=True, eq=False)
class Marker:
    """Keys that a field adds to its Kubernetes schema, and what Python checks for them."""

    keys: Mapping[str, Any]
    check: Callable[[Any], Any] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook: the field's own validation, then the check."""
        schema = handler(source)
        return schema if self.check is None else no_info_after_validator_function(self.check, schema)

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        """Pydantic's hook: the field's own schema with these keys beside it."""
        return {**handler(core_schema), **self.keys}


def keyed_by(key: str, *rules: Rule) -> Marker:
    """Mark a list as a map by this key: a duplicate is refused, and the server merges by key."""

    def unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len({getattr(item, key) for item in items}) < len(items):
            raise ValueError(f"two items have the same {key}; each {key} may appear once")
        return items

    keys: JsonSchema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return Marker(keys | _validations(rules), unique)


def unordered_set(*rules: Rule) -> Marker:
    """Mark a list of scalars as a set: a duplicate is refused."""

    def unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(items)) < len(items):
            raise ValueError("an entry appears twice; remove one")
        return items

    return Marker({"x-kubernetes-list-type": "set"} | _validations(rules), unique)


def _validations(rules: tuple[Rule, ...]) -> JsonSchema:
    return {"x-kubernetes-validations": [rule.schema() for rule in rules]} if rules else {}


def ruled(*rules: Rule) -> Marker:
    """Attach rules to one field; Python does not run them, so use it for old-to-new rules."""
    return Marker(_validations(rules))


def immutable(what: str) -> Marker:
    """Mark a field that keeps the value it was created with."""
    return ruled(Rule("self == oldSelf", f"{what} cannot change; create a new object with the other value"))


class Model(BaseModel):
    """Base of every model. Frozen, closed to unknown fields, camelCase outside and snake_case inside.

    A subclass with a field that has no description, or a string, list, map or integer without bounds,
    is refused with TypeError when it is defined.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a model that leaves anything unbounded or undescribed."""
        super().__pydantic_init_subclass__(**kwargs)
        if not cls.model_fields:
            return
        schema = cls.model_json_schema()
        faults = [*unbounded(schema), *undescribed(schema)]
        if not vars(cls).get("__doc__"):
            faults.append("it has no docstring")
        if faults:
            raise TypeError(f"model {cls.__name__}: {'; '.join(faults)}")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        """The model's schema with its rules beside it."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        return schema | _validations(cls.RULES)

    @model_validator(mode="after")
    def _hold_rules(self) -> Self:
        broken = [rule.message for rule in self.RULES if rule.holds is not None and not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    def wire(self) -> dict[str, Any]:
        """The model as JSON values with camelCase keys; absent fields are left out, defaults are written."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def canonical(self) -> bytes:
        """The model's one canonical JSON text: sorted keys, no spaces, UTF-8."""
        return json.dumps(self.wire(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 lower-case hexadecimal digits."""
        return hashlib.sha256(self.canonical()).hexdigest()


def unbounded(schema: JsonSchema, path: str = "") -> Iterator[str]:
    """Name each string, list, map or number in a JSON schema that has no upper bound."""
    needs = {
        "string": ("maxLength", "enum", "const", "format"),
        "array": ("maxItems",),
        "integer": ("maximum", "exclusiveMaximum", "enum", "const"),
    }
    kind = schema.get("type")
    if kind == "number":
        yield f"{path or 'value'} is a float; use a decimal string"
    if kind in needs and not any(key in schema for key in needs[kind]):
        yield f"{path or 'value'} has no {needs[kind][0]}"
    if kind == "object" and "properties" not in schema and "maxProperties" not in schema:
        yield f"{path or 'value'} has no maxProperties"
    for name, child in _children(schema):
        yield from unbounded(child, f"{path}.{name}" if path else name)


def undescribed(schema: JsonSchema) -> Iterator[str]:
    """Name each property of a JSON schema's top object that has no description."""
    for name, child in cast("dict[str, JsonSchema]", schema.get("properties", {})).items():
        # Pydantic leaves a description out where it equals the docstring of the model that is referred to.
        if not child.get("description") and "$ref" not in child:
            yield f"{name} has no description"


def _children(schema: JsonSchema) -> Iterator[tuple[str, JsonSchema]]:
    yield from cast("dict[str, JsonSchema]", schema.get("properties", {})).items()
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield key, schema[key]
    for branch in cast("list[JsonSchema]", schema.get("anyOf", [])):
        yield "anyOf", branch


def problems(error: ValidationError) -> tuple[str, ...]:
    """What is wrong and where, one sentence each, with no value of the input.

    Safe in a status, an event and a log: a key that does not look like a field name is not repeated.
    """
    errors = error.errors(include_input=False)
    places = [item["loc"] for item in errors]
    return tuple(
        f"{_where(item['loc'])}: {_REMEDIES.get(item['type'], item['msg']).removeprefix('Value error, ')}"
        for item in errors
        # A list whose items are wrong also counts as too short; the items say enough.
        if not any(place != item["loc"] and place[: len(item["loc"])] == item["loc"] for place in places)
    )


def _where(location: tuple[int | str, ...]) -> str:
    steps = (str(step) if isinstance(step, int) or _FIELD.fullmatch(step) else "?" for step in location)
    return ".".join(steps) or "document"


_REMEDIES = {
    "missing": "this field is required; add it",
    "extra_forbidden": "no such field; remove it or check its spelling",
    "string_type": "must be text; put quotes around it",
}
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}")
