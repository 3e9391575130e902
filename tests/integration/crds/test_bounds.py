"""On a real API server: each bound of each field accepts its limit and refuses what lies beyond."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from fleetmeter_api.manifests import KINDS

# A text of the greatest length for each pattern that a longest text of letters does not fit.
LONGEST = {
    "^[A-Z]{3}$": "USD",
    "^[A-Z][A-Z0-9]*$": "A" * 16,
    "^[A-Z][A-Za-z0-9-]{1,31}$": "A" * 32,
    "^[A-Z][A-Za-z0-9]*$": "A",
    "^[0-9a-f]*$": "a" * 64,
    "^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti)$": "999999999999Ki",
    "^([1-9][0-9]{0,5}m|[1-9][0-9]{0,3})$": "999999m",
    r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,12})?$": "9999999999.999999999999",
    r"^(0|[1-9][0-9]{0,9})(\.[0-9]{0,11}[1-9])?$": "9999999999.999999999999",
    "^[A-Za-z0-9.-]+:[0-9]+(,[A-Za-z0-9.-]+:[0-9]+)*$": "a" * 1018 + ":9092",
    "^(UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){1,2})$": "A/" + "a" * 62,
}
LONGEST_BY_FORMAT = {"date-time": "2023-02-04T00:00:00.000000+00:00", "date": "2023-02-01"}
FULL = {
    "BillingRegion": ("region-embedded", "region-external", "region-operators"),
    "BillingPeriod": ("period",),
    "PricingPlan": ("plan",),
}
DOCUMENT = {kind.kind: kind.document for kind in KINDS}
WRONG_TYPES = {"string": 0.1, "integer": "1", "boolean": "yes", "array": "x", "object": "x"}


@dataclass(frozen=True)
class Field:
    """One field of a kind: its path (list indexes as []) and its schema."""

    kind: str
    path: str
    schema: Mapping[str, Any]
    required: bool


def fields_of(kind: str, schema: Mapping[str, Any], path: str, required: bool) -> Iterator[Field]:
    """The field and all below it."""
    yield Field(kind, path, schema, required)
    for name, child in schema.get("properties", {}).items():
        yield from fields_of(kind, child, f"{path}.{name}", name in schema.get("required", []))
    if "items" in schema:
        yield from fields_of(kind, schema["items"], f"{path}[]", False)


def all_fields() -> list[Field]:
    """Every field of the specs and statuses of the three kinds."""
    schemas = {
        kind.kind: kind.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS
    }
    return [
        field
        for kind, schema in schemas.items()
        for part in ("spec", "status")
        for field in fields_of(kind, schema["properties"][part], part, part == "spec")
    ]


FIELDS = all_fields()
SPECS = [field for field in FIELDS if field.path.startswith("spec")]
KEYED = [field for field in SPECS if field.schema.get("x-kubernetes-list-type") in ("map", "set")]
STATUSES = [field for field in FIELDS if field.path.startswith("status.")]


def refused_values(field: Field) -> Iterator[Any]:
    """Values just beyond each bound of the field."""
    schema = field.schema
    yield WRONG_TYPES[schema["type"]]
    if "enum" in schema:
        yield "Nonsense"
    if "maxLength" in schema:
        yield "a" * (schema["maxLength"] + 1)
    if schema.get("minLength"):
        yield ""
    if "pattern" in schema:
        yield "\x00"
    if "minimum" in schema:
        yield schema["minimum"] - 1
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if schema.get("minItems"):
        yield []


def accepted_values(field: Field) -> Iterator[Any]:
    """Values on each bound of the field."""
    schema = field.schema
    yield from schema.get("enum", [])
    if "format" in schema and schema["type"] == "string":
        yield LONGEST_BY_FORMAT[schema["format"]]
    elif "maxLength" in schema:
        yield LONGEST.get(schema.get("pattern", ""), "a" * schema["maxLength"])
    if "minimum" in schema:
        yield schema["minimum"]
    if "maximum" in schema:
        yield schema["maximum"]
    if schema["type"] == "boolean":
        yield from (True, False)


def tried(server: Any, bases: Any, field: Field, change: Any) -> list[Any]:
    """Apply the change at the field of the first object that has it; the causes of a refusal."""
    for base in FULL[field.kind]:
        resource = bases.edited(base)
        places = list(holders(resource, field.path.replace("[]", ".[]").split(".")))
        if places:
            holder, key = places[0]
            change(holder, key)
            part = field.path.startswith("status")
            return server.replace(resource, "/status") if part else server.create(resource)
    raise AssertionError(f"no object of bases.yaml has {field.kind} {field.path}")


def holders(value: Any, steps: list[str]) -> Iterator[tuple[Any, Any]]:
    """Each place of the path in an object: what holds it, and its key or index."""
    first, *rest = steps
    keys = range(len(value)) if first == "[]" else [first] if first in value else []
    for key in keys:
        if rest:
            yield from holders(value[key], rest)
        else:
            yield value, key


def put(value: Any) -> Any:
    """A change that sets the field."""
    return lambda holder, key: holder.__setitem__(key, copy.deepcopy(value))


def own(causes: list[Any], field: Field) -> list[Any]:
    """The causes that are about this field's own schema, not about a rule or a neighbour of the same key."""
    rules = [rule["message"] for other in FIELDS for rule in other.schema.get("x-kubernetes-validations", [])]
    rules.append("Duplicate value")
    return [
        cause
        for cause in causes
        if cause.at == field.path and not any(message in cause.message for message in rules)
    ]


def remove(holder: Any, key: Any) -> None:
    """A change that removes the field."""
    del holder[key]


def lengthen(count: int) -> Any:
    """A change that repeats a list's first item so many times."""
    return lambda holder, key: holder.__setitem__(key, [copy.deepcopy(holder[key][0]) for _ in range(count)])


def check(server: Any, bases: Any, field: Field) -> None:
    """Try each value on and beyond the field's bounds."""
    for value in refused_values(field):
        assert own(tried(server, bases, field, put(value)), field), f"accepted {value!r}"
    for value in accepted_values(field):
        assert not own(tried(server, bases, field, put(value)), field), f"refused {value!r}"
    if not field.path.endswith("[]"):
        assert bool(own(tried(server, bases, field, remove), field)) == field.required
    if "maxItems" in field.schema:
        most = field.schema["maxItems"]
        assert not too_many(tried(server, bases, field, lengthen(most)))
        assert too_many(tried(server, bases, field, lengthen(most + 1)))


def names(fields: list[Field]) -> list[str]:
    """The fields' names, for the tests' ids."""
    return [f"{field.kind}:{field.path}" for field in fields]


@pytest.mark.parametrize("field", SPECS, ids=names(SPECS))
def test_each_bound_of_the_specs(server: Any, bases: Any, field: Field) -> None:
    check(server, bases, field)


@pytest.mark.parametrize("field", STATUSES, ids=names(STATUSES))
def test_each_bound_of_the_statuses(server: Any, bases: Any, field: Field) -> None:
    resource = bases.edited(FULL[field.kind][0])
    assert server.create(resource, dry=False) == []
    try:
        check(server, bases, field)
    finally:
        server.delete(resource)


def too_many(causes: list[Any]) -> bool:
    """Whether a list was refused for its length."""
    return any("must have at most" in cause.message or "Too many" in cause.message for cause in causes)


@pytest.mark.parametrize("field", KEYED, ids=names(KEYED))
def test_each_map_and_set_refuses_a_duplicate(server: Any, bases: Any, field: Field) -> None:
    causes = tried(server, bases, field, lengthen(2))
    assert any(cause.at == f"{field.path}[]" and "Duplicate value" in cause.message for cause in causes), (
        causes
    )
    resource = bases.edited(FULL[field.kind][0])
    for holder, key in holders(resource, field.path.replace("[]", ".[]").split(".")):
        lengthen(2)(holder, key)
    with pytest.raises(ValidationError, match=r"have the same|appears twice"):
        DOCUMENT[field.kind].from_resource(resource)


def test_every_field_is_described_in_a_sentence() -> None:
    named = [field for field in FIELDS if not field.path.endswith("[]")]
    assert names([field for field in named if not field.schema.get("description", "").endswith(".")]) == []
