"""The committed CustomResourceDefinitions: as the models say, structural, and small enough."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetmeter_api
from fleetmeter_api.generate import LARGEST_MANIFEST, manifest_text, write_manifests
from fleetmeter_api.manifests import KINDS, Kind

COMMITTED = Path(fleetmeter_api.__file__).parents[1]
# The keys of a structural schema (apiextensions.k8s.io/v1), as far as this project uses them.
ALLOWED = {
    "type",
    "format",
    "description",
    "default",
    "enum",
    "pattern",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}
BY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and all below it, with their paths."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from schemas(schema[key], f"{path}.{key}")


def version_of(kind: Kind) -> dict[str, Any]:
    """The one version of a kind's definition."""
    (version,) = kind.definition()["spec"]["versions"]
    return version


@BY_KIND
def test_the_committed_file_is_what_the_models_say(kind: Kind) -> None:
    committed = (COMMITTED / kind.file_name).read_text(encoding="utf-8")
    assert committed == manifest_text(kind), "run: python -m fleetmeter_api.generate"


@BY_KIND
def test_the_file_is_the_definition_and_kubectl_can_apply_it(kind: Kind) -> None:
    text = manifest_text(kind)
    assert yaml.safe_load(text) == kind.definition()
    assert len(text.encode()) <= LARGEST_MANIFEST


def test_the_generator_writes_one_file_a_kind(tmp_path: Path) -> None:
    paths = write_manifests(tmp_path)
    assert [path.name for path in paths] == [
        "billingregions.yaml",
        "billingperiods.yaml",
        "pricingplans.yaml",
    ]
    assert all(path.read_text(encoding="utf-8").startswith("# Generated") for path in paths)


@BY_KIND
def test_the_schema_is_structural(kind: Kind) -> None:
    for path, schema in schemas(version_of(kind)["schema"]["openAPIV3Schema"]):
        assert set(schema) <= ALLOWED, path
        assert isinstance(schema["type"], str), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert "default" not in schema or schema["default"] is not None, path


@BY_KIND
def test_a_column_of_time_is_text_but_for_the_age(kind: Kind) -> None:
    columns = version_of(kind)["additionalPrinterColumns"]
    assert [column["name"] for column in columns if column["type"] == "date"] == ["Age"]
    assert all(column["description"].endswith(".") for column in columns)


@BY_KIND
def test_every_rule_says_what_to_do(kind: Kind) -> None:
    for path, schema in schemas(version_of(kind)["schema"]["openAPIV3Schema"]):
        for rule in schema.get("x-kubernetes-validations", []):
            assert len(rule["message"].split()) >= 5, f"{path}: {rule}"
