"""The chart of the operator: what it renders, what it refuses, and what the operator may do."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).resolve().parents[3] / "charts" / "fleetmeter"
EU = 'jurisdiction="EU"'


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [each for each in objects if each["kind"] == kind]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return one(objects, "Deployment")["spec"]["template"]


def environment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in pod(objects)["spec"]["containers"][0]["env"]}


def test_lint_is_strict(helm):
    done = helm("lint", "--strict", str(CHART), "--set", "jurisdiction=EU")
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_operator_at_a_time(render):
    spec = one(render("fleetmeter", EU), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_pod_meets_the_restricted_standard(render):
    spec = pod(render("fleetmeter", EU))["spec"]
    container = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_operator_is_told_its_images_and_jurisdiction(render):
    given = environment(render("fleetmeter", EU, 'images.kafka="mine/kafka:1"'))
    images = json.loads(given["FLEETMETER_IMAGES"])
    assert given["JURISDICTION"] == "EU"
    assert sorted(images) == ["kafka", "mosquitto", "postgres", "workers"]
    assert images["kafka"] == "mine/kafka:1"


def test_pull_secrets_reach_the_pod_and_the_operator(render):
    objects = render("fleetmeter", EU, 'imagePullSecrets=["one","two"]')
    assert pod(objects)["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert environment(objects)["FLEETMETER_IMAGE_PULL_SECRETS"] == "one,two"


def test_pod_labels_cannot_take_the_selector_away(render):
    objects = render("fleetmeter", EU, 'podLabels={"team":"billing","app.kubernetes.io/component":"other"}')
    selector = one(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    labels = pod(objects)["metadata"]["labels"]
    assert labels["team"] == "billing"
    assert selector.items() <= labels.items()


def test_probes_ask_the_operator_itself(render):
    container = pod(render("fleetmeter", EU))["spec"]["containers"][0]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]


def verbs(objects: list[dict[str, Any]], resource: str) -> set[str]:
    rules = one(objects, "Role")["rules"]
    return {verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]}


def test_operator_cannot_read_a_secret(render):
    assert verbs(render("fleetmeter", EU), "secrets") == {"create", "delete"}


def test_operator_cannot_delete_or_make_a_plan(render):
    assert verbs(render("fleetmeter", EU), "pricingplans") == {"get", "list", "watch"}


def test_rights_name_every_verb_and_end_at_the_namespace(render):
    objects = render("fleetmeter", EU)
    assert not [each for each in objects if each["kind"].startswith("Cluster")]
    assert {each["metadata"]["namespace"] for each in objects} == {"metering"}
    for rule in one(objects, "Role")["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]


def test_rights_are_bound_to_the_pods_account(render):
    objects = render("fleetmeter", EU)
    account = one(objects, "ServiceAccount")["metadata"]["name"]
    assert pod(objects)["spec"]["serviceAccountName"] == account
    assert one(objects, "RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": "metering"}
    ]


def test_an_account_of_the_users_own(render, template):
    refused = template("fleetmeter", EU, "serviceAccount.create=false")
    assert refused.returncode != 0
    assert "set serviceAccount.name" in refused.stderr
    objects = render("fleetmeter", EU, 'serviceAccount={"create":false,"name":"mine"}', "rbac.create=false")
    assert pod(objects)["spec"]["serviceAccountName"] == "mine"
    assert not [each for each in objects if each["kind"] in ("ServiceAccount", "Role", "RoleBinding")]


def test_operator_reaches_dns_the_api_server_and_the_status_only(render):
    spec = one(render("fleetmeter", EU), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert [[port["port"] for port in rule["ports"]] for rule in spec["egress"]] == [
        [53, 53],
        [443, 6443],
        [8081],
    ]


def test_api_server_can_be_named(render):
    given = 'networkPolicy.apiServer={"cidrs":["10.1.2.3/32"],"ports":[6443]}'
    rule = one(render("fleetmeter", EU, given), "NetworkPolicy")["spec"]["egress"][1]
    assert rule == {"ports": [{"port": 6443}], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}


def test_metrics_readers_can_be_named(render):
    peer = {"namespaceSelector": {"matchLabels": {"team": "watch"}}}
    objects = render("fleetmeter", EU, f"networkPolicy.metricsFrom={json.dumps([peer])}")
    assert one(objects, "NetworkPolicy")["spec"]["ingress"] == [{"from": [peer], "ports": [{"port": 8080}]}]
    assert json.loads(environment(objects)["FLEETMETER_METRICS_FROM"]) == [peer]


@pytest.mark.parametrize(
    ("value", "kind"), [("podDisruptionBudget", "PodDisruptionBudget"), ("networkPolicy", "NetworkPolicy")]
)
def test_switches(render, value, kind):
    for enabled in (True, False):
        objects = render("fleetmeter", EU, f"{value}.enabled={json.dumps(enabled)}")
        assert (kind in {each["kind"] for each in objects}) is enabled


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ('jurisdicton="EU"', "additional properties 'jurisdicton'"),
        ('images.kafak="x"', "additional properties 'kafak'"),
        ('images.kafka=""', "/images/kafka"),
        ('jurisdiction="eu"', "/jurisdiction"),
        ("resyncSeconds=1", "/resyncSeconds"),
        ('imagePullPolicy="Sometimes"', "/imagePullPolicy"),
        ('networkPolicy.apiServer.cidrs=["10.0.0.1"]', "/networkPolicy/apiServer/cidrs"),
    ],
)
def test_refused_values(template, value, complaint):
    done = template("fleetmeter", EU, value)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_a_missing_jurisdiction_is_told_with_the_remedy(template):
    done = template("fleetmeter")
    assert done.returncode != 0
    assert "--set jurisdiction=EU" in done.stderr


def keys(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The tree of the keys that a schema knows; a leaf is None."""
    schema = root["definitions"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    properties = schema.get("properties")
    return (
        {name: keys(part, root) for name, part in properties.items() if name != "global"}
        if properties
        else {}
    )


def shape(values: object, known: dict[str, Any]) -> dict[str, Any]:
    return (
        {name: shape(part, known.get(name, {})) for name, part in values.items()}
        if known and isinstance(values, dict)
        else {}
    )


def test_schema_knows_exactly_the_default_values():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    known = keys(schema, schema)
    assert shape(values, known) == known
