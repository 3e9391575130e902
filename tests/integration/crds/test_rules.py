"""On a real API server: each rule of the three kinds accepts and refuses, and Python decides the same."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.manifests import GROUP, KINDS, VERSION

RULES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "rules.yaml").read_text(encoding="utf-8")
)
KIND = {kind.kind: kind for kind in KINDS}


def cases(verdict: str, *, changing: bool) -> list[Any]:
    """The accepted or refused edits of the rules file, as parameters."""
    return [
        pytest.param(entry, edits, id=f"{entry['base']}:{entry['at']}:{entry['rule'][:40]}:{number}")
        for entry in RULES
        if ("old" in entry) == changing
        for number, edits in enumerate(entry[verdict])
    ]


@pytest.mark.parametrize(("entry", "edits"), cases("accepted", changing=False))
def test_a_rule_accepts(server: Any, bases: Any, entry: dict[str, Any], edits: dict[str, Any]) -> None:
    resource = bases.edited(entry["base"], edits)
    assert server.create(resource) == []
    KIND[resource["kind"]].document.from_resource(resource)


@pytest.mark.parametrize(("entry", "edits"), cases("refused", changing=False))
def test_a_rule_refuses(server: Any, bases: Any, entry: dict[str, Any], edits: dict[str, Any]) -> None:
    resource = bases.edited(entry["base"], edits)
    assert_names_rule(server.create(resource), entry)
    with pytest.raises(ValidationError) as refusal:
        KIND[resource["kind"]].document.from_resource(resource)
    # Python finds a wrong name by its pattern, before any rule.
    assert any(entry["rule"] in text or text.startswith("name: ") for text in problems(refusal.value))


@pytest.mark.parametrize(("entry", "edits"), cases("accepted", changing=True))
def test_a_change_is_accepted(server: Any, bases: Any, entry: dict[str, Any], edits: dict[str, Any]) -> None:
    assert changed(server, bases, entry, edits) == []


@pytest.mark.parametrize(("entry", "edits"), cases("refused", changing=True))
def test_a_change_is_refused(server: Any, bases: Any, entry: dict[str, Any], edits: dict[str, Any]) -> None:
    assert_names_rule(changed(server, bases, entry, edits), entry)


def changed(server: Any, bases: Any, entry: dict[str, Any], edits: dict[str, Any]) -> list[Any]:
    """Store the old object, try the new one, and clean up."""
    old = bases.edited(entry["base"], entry["old"])
    assert server.create(old, dry=False) == []
    try:
        return server.replace(bases.edited(entry["base"], entry["old"], edits))
    finally:
        server.delete(old)


def assert_names_rule(causes: list[Any], entry: dict[str, Any]) -> None:
    """The server refuses at the rule's place with the rule's message."""
    places = (entry["at"], "<nil>")
    assert any(cause.at in places and entry["rule"] in cause.message for cause in causes), causes


@pytest.mark.parametrize("verdict", ["accepted", "refused"])
def test_every_rule_has_an_object(bases: Any, verdict: str) -> None:
    shown = {
        (bases.objects[entry["base"]]["kind"], entry["at"], entry["rule"])
        for entry in RULES
        if entry[verdict]
    }
    missing = [
        f"{kind.kind} {at or 'root'}: {message}"
        for kind in KINDS
        for at, message in rules_of(schema_of(kind))
        if not any(
            message.startswith(rule) for name, place, rule in shown if (name, place) == (kind.kind, at)
        )
    ]
    assert missing == [], f"no {verdict} object in rules.yaml"


def schema_of(kind: Any) -> dict[str, Any]:
    """The OpenAPI schema of a kind's definition."""
    return kind.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def rules_of(schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """Each rule of a schema: its place and its message."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield at, rule["message"]
    for name, child in schema.get("properties", {}).items():
        yield from rules_of(child, f"{at}.{name}".lstrip("."))
    if "items" in schema:
        yield from rules_of(schema["items"], f"{at}[]")


def test_an_unknown_field_is_refused(server: Any, bases: Any) -> None:
    (cause,) = server.create(bases.edited("plan", {"spec.curency": "EUR"}))
    assert 'unknown field "spec.curency"' in cause.message


@pytest.mark.parametrize("base", ["region-external", "region-operators", "period", "plan"])
def test_defaults_are_those_of_the_models(server: Any, bases: Any, base: str) -> None:
    resource = bases.edited(base)
    document = KIND[resource["kind"]].document.from_resource(resource)
    assert server.defaulted(resource)["spec"] == document.wire()["spec"]


BOUNDS = [
    *("0.000000000001", "0.000000000002", "0.000000001", "0.09", "0.1", "0.11", "0.9"),
    *(
        "1",
        "1.000000000001",
        "1.09",
        "1.1",
        "2",
        "9",
        "9.999999999999",
        "10",
        "10.5",
        "11",
        "99",
        "100",
        "101",
    ),
    *("999999999", "1000000000", "9999999999", "9999999999.999999999998", "9999999999.999999999999"),
]


@pytest.mark.parametrize("low", BOUNDS)
def test_tiers_are_ordered_as_numbers(server: Any, bases: Any, low: str) -> None:
    """The rule compares texts; here it is held against Decimal, each bound with each."""
    for high in BOUNDS:
        tiers = [{"upTo": low, "unitPrice": "1"}, {"upTo": high, "unitPrice": "1"}, {"unitPrice": "1"}]
        causes = server.create(bases.edited("plan", {"spec.versions.1.charges.0.tiers": tiers}))
        assert (not causes) == (Decimal(low) < Decimal(high)), f"{low} {high}"


def test_a_large_plan_is_within_the_cost_of_rules(server: Any, bases: Any) -> None:
    tiers = [{"upTo": str(10**9 + number), "unitPrice": "0.000000000001"} for number in range(31)]
    charges = [
        {"name": f"c{number}", "metric": "messages", "model": "Volume", "tiers": [*tiers, {"unitPrice": "0"}]}
        for number in range(32)
    ]
    versions = [
        {"version": f"v{number}", "effectiveFrom": f"20{10 + number}-01-01T00:00:00Z", "charges": charges}
        for number in range(24)
    ]
    newest = {**versions[0], "version": "newest", "effectiveFrom": "2090-01-01T00:00:00Z"}
    plan = bases.edited("plan", {"spec.versions": versions})
    assert server.create(plan, dry=False) == []
    try:
        assert server.replace(bases.edited("plan", {"spec.versions": [*versions, newest]})) == []
    finally:
        server.delete(plan)


def test_kubectl_knows_the_short_names_and_the_category(server: Any) -> None:
    listed = server.http.get(f"/apis/{GROUP}/{VERSION}").json()["resources"]
    found = {
        entry["kind"]: (entry["shortNames"], entry["categories"]) for entry in listed if "shortNames" in entry
    }
    assert found == {kind.kind: ([kind.short_name], ["fleetmeter"]) for kind in KINDS}


def test_periods_can_be_selected_by_region_and_print_their_columns(server: Any, bases: Any) -> None:
    period = bases.edited("period")
    assert server.create(period, dry=False) == []
    try:
        table = server.http.get(
            server.path(period),
            params={"fieldSelector": "spec.regionName=eu"},
            headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
        ).json()
        other = server.http.get(server.path(period), params={"fieldSelector": "spec.regionName=us"}).json()
    finally:
        server.delete(period)
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    wanted = "Name Region Phase Starts Ends FinalAt Events Late Quarantined Invoices Review Age"
    assert " ".join(shown) == wanted
    assert table["rows"][0]["cells"][:4] == ["eu-202301", "eu", None, period["spec"]["start"]]
    assert other["items"] == []
