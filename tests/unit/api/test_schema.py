"""From models to structural schemas: what is converted, and what is refused."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from fleetmeter_api.base import Model, Rule, immutable, keyed_by, unordered_set
from fleetmeter_api.schema import SchemaError, structural_schema
from fleetmeter_api.values import Code, DecimalText, Instant


class Part(Model):
    """A part."""

    name: Code = Field(description="Its name.")
    amount: DecimalText = Field(default="0", validate_default=True, description="How much.")


class Whole(Model):
    """A whole."""

    parts: Annotated[tuple[Part, ...], Field(max_length=4), keyed_by("name")] = Field(
        description="Its parts."
    )
    tags: Annotated[tuple[Code, ...], Field(max_length=4), unordered_set()] = Field(
        default=(), description="Its tags."
    )
    only: Literal["One"] = Field(default="One", description="One choice.")
    since: Annotated[Instant, immutable("since")] | None = Field(default=None, description="Since when.")
    spare: Part | None = Field(default=None, description="Another part.")
    lists: dict[str, bool] = Field(default={}, max_length=8, description="A map.")
    above: Annotated[int, Field(gt=0, lt=9)] = Field(default=1, description="An exclusive bound.")

    RULES = (Rule("self.above > 0", "above must be positive", lambda whole: whole.above > 0),)


def test_a_model_becomes_a_structural_schema() -> None:
    schema = structural_schema(Whole)
    properties = schema["properties"]
    assert schema["description"] == "A whole."
    assert schema["required"] == ["parts"]
    assert schema["x-kubernetes-validations"] == [
        {"rule": "self.above > 0", "message": "above must be positive"}
    ]
    assert properties["parts"]["x-kubernetes-list-type"] == "map"
    assert properties["parts"]["x-kubernetes-list-map-keys"] == ["name"]
    assert properties["parts"]["items"]["properties"]["name"]["maxLength"] == 63
    assert properties["tags"] == {
        "description": "Its tags.",
        "type": "array",
        "items": {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            "minLength": 1,
            "maxLength": 63,
        },
        "maxItems": 4,
        "default": [],
        "x-kubernetes-list-type": "set",
    }
    assert properties["only"]["enum"] == ["One"]
    assert properties["since"]["format"] == "date-time"
    assert properties["since"]["x-kubernetes-validations"][0]["rule"] == "self == oldSelf"
    assert "default" not in properties["since"]
    assert properties["spare"]["description"] == "Another part."
    assert properties["spare"]["type"] == "object"
    assert properties["lists"]["additionalProperties"] == {"type": "boolean"}
    assert properties["above"] == {
        "description": "An exclusive bound.",
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "maximum": 9,
        "default": 1,
        "exclusiveMinimum": True,
        "exclusiveMaximum": True,
    }


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        (str, "value has no maxLength"),
        (int, "value has no maximum"),
        (float, "value is a float"),
        (str | None, "value.anyOf has no maxLength"),
        (Annotated[tuple[str, ...], Field(max_length=3)], "value.items has no maxLength"),
        (tuple[bool, ...], "value has no maxItems"),
        (dict[str, bool], "value has no maxProperties"),
        (Annotated[dict[str, int], Field(max_length=3)], "value.additionalProperties has no maximum"),
    ],
)
def test_a_model_with_something_unbounded_cannot_be_defined(annotation: Any, fault: str) -> None:
    with pytest.raises(TypeError, match=fault):
        defined(annotation, Field(description="A value."))


def defined(annotation: Any, field: Any) -> None:
    """Define a model with one field."""
    type("Loose", (Model,), {"__annotations__": {"value": annotation}, "value": field, "__doc__": "Loose."})


def test_a_field_needs_a_description() -> None:
    with pytest.raises(TypeError, match="value has no description"):
        defined(bool, False)


def test_a_model_needs_a_docstring() -> None:
    with pytest.raises(TypeError, match="no docstring"):
        type("Mute", (Model,), {"__annotations__": {"value": bool}, "value": Field(description="A value.")})


class Recursive(BaseModel):
    """Contains itself."""

    child: "Recursive | None" = None


class Either(BaseModel):
    """Two types."""

    value: int | Code


class Pair(BaseModel):
    """A tuple of fixed length."""

    value: tuple[bool, bool]


class Unbounded(BaseModel):
    """A plain pydantic model, which does not check itself."""

    value: str


class Half(BaseModel):
    """An exclusive bound that is no whole number."""

    value: Annotated[float, Field(gt=0.5)]


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (Recursive, "contains itself"),
        (Either, "a field has one type"),
        (Pair, "prefixItems has no place in a CRD"),
        (Unbounded, "Unbounded.value has no maxLength"),
        (Half, "must be a whole number"),
    ],
)
def test_what_a_crd_cannot_say_is_refused(model: type[BaseModel], fault: str) -> None:
    with pytest.raises(SchemaError, match=fault):
        structural_schema(model)
