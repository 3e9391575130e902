"""What builders make of a region: pods that may do little, with what workers and images expect."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetmeter_api.region import Region
from fleetmeter_operator.build import close_job, config, kafka, migrations, stateful
from fleetmeter_operator.build.region import build_children
from fleetmeter_operator.build.secrets import build_secret, credentials
from fleetmeter_operator.build.site import Images, Site

IMAGES = Path(__file__).parents[3] / "images"
Build = Callable[..., Site]
Object = dict[str, Any]


def by_key(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def templates(site: Site) -> dict[str, Object]:
    """The pod template of each component, the close's included."""
    children = [*build_children(site), close_job.build(site, "eu-202301", "uid-2", 1, ["plan-a-1"], "in")]
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["template"]
        for each in children
        if "template" in each.get("spec", {})
    }


def env(template: Object) -> dict[str, str]:
    """Each variable with its value, or `secret/key`."""
    out: dict[str, str] = {}
    for variable in template["spec"]["containers"][0]["env"]:
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        out[variable["name"]] = f"{reference['name']}/{reference['key']}" if reference else variable["value"]
    return out


def test_every_pod_passes_the_restricted_standard(site: Build) -> None:
    found = templates(site())
    assert set(found) == {
        "kafka",
        "postgres",
        "mosquitto",
        "migrate",
        "gateway",
        "consumer",
        "api",
        "close",
    }
    for template in found.values():
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (10001, 10001)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_pods_are_picked_by_their_own_selectors(site: Build) -> None:
    for each in build_children(site()):
        spec = each.get("spec", {})
        if "template" in spec and "selector" in spec:
            wanted = spec["selector"]["matchLabels"]
            assert wanted.items() <= spec["template"]["metadata"]["labels"].items()


def test_engines_get_the_variables_of_their_images(site: Build) -> None:
    found = templates(site(broker={"type": "Embedded", "embedded": {"heap": "1Gi"}}))
    assert env(found["kafka"]) == {
        "KAFKA_PASSWORD_ADMIN": "eu-kafka-auth/admin-password",
        "KAFKA_PASSWORD_GATEWAY": "eu-kafka-auth/gateway-password",
        "KAFKA_PASSWORD_CONSUMER": "eu-kafka-auth/consumer-password",
        "KAFKA_PASSWORD_API": "eu-kafka-auth/api-password",
        "KAFKA_HEAP": "1024m",
        "KAFKA_ADVERTISED": "eu-kafka:9092",
    }
    assert env(found["postgres"])["POSTGRES_PASSWORD"] == "eu-postgres-auth/postgres-password"
    assert set(env(found["mosquitto"])) == {
        "MQTT_PASSWORD_GATEWAY",
        "MQTT_PASSWORD_INGEST",
        "MQTT_PASSWORD_BACKFILL",
    }


@pytest.mark.parametrize(
    ("component", "kafka_user", "role", "files"),
    [
        ("gateway", "gateway", "gateway", {"REGION_FILE", "TOKENS_FILE"}),
        ("consumer", "consumer", "consumer", {"REGION_FILE"}),
        ("api", "api", "api", {"REGION_FILE", "TOKENS_FILE", "CONTRACTS_DIR"}),
        ("close", "consumer", "closer", {"REGION_FILE", "SELLER_FILE", "PLANS_DIR"}),
        ("migrate", "admin", "postgres", {"REGION_FILE"}),
    ],
)
def test_each_worker_has_its_own_accounts_and_files(
    site: Build, component: str, kafka_user: str, role: str, files: set[str]
) -> None:
    template = templates(site())[component]
    found = env(template)
    assert found["FLEETMETER_KAFKA_BOOTSTRAP"] == "eu-kafka:9092"
    assert found["FLEETMETER_KAFKA_PASSWORD"] == f"eu-kafka-auth/{kafka_user}-password"
    assert (found["FLEETMETER_KAFKA_USER"], found["PGUSER"]) == (kafka_user, role)
    assert found["PGPASSWORD"] == f"eu-postgres-auth/{role}-password"
    named = {name for name in found if name.endswith(("_FILE", "_DIR"))}
    assert named == {f"FLEETMETER_{name}" for name in files}
    mounts = template["spec"]["containers"][0]["volumeMounts"]
    for name in named:
        paths = [(Path(found[name]), Path(mount["mountPath"])) for mount in mounts]
        assert any(file.is_relative_to(path) or path.is_relative_to(file) for file, path in paths)
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in template["spec"]["volumes"]}


def test_only_the_gateway_knows_the_mqtt_broker_and_only_where_there_is_one(site: Build) -> None:
    with_mqtt = {name for name, each in templates(site()).items() if "FLEETMETER_MQTT_HOST" in env(each)}
    assert with_mqtt == {"gateway"}
    assert env(templates(site(gateway={"replicas": 3}))["gateway"])["FLEETMETER_GATEWAYS"] == "3"
    without = site(mqtt={"type": "None"})
    assert "FLEETMETER_MQTT_HOST" not in env(templates(without)["gateway"])
    assert not [each for each in build_children(without) if "mosquitto" in json.dumps(each)]
    assert [each.component for each in credentials(without)] == ["kafka", "postgres"]


@pytest.mark.parametrize("engine", ["kafka", "postgres", "mosquitto"])
def test_an_engine_starts_by_the_mounted_script_of_its_image(site: Build, engine: str) -> None:
    """So an upstream image, which lacks the script, starts as ours does."""
    children = by_key(build_children(site()))
    script = children["ConfigMap", f"eu-{engine}-start"]["data"]["start"]
    assert script == (IMAGES / engine / f"start-{engine}").read_text()
    template = children["StatefulSet", f"eu-{engine}"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == "start"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "start"]
    assert volume["configMap"] == {"name": f"eu-{engine}-start"}
    assert container["command"] == ["/bin/sh", f"{mount['mountPath']}/start"]
    assert template["metadata"]["annotations"]["fleetmeter.io/start-hash"]


def test_data_outlives_the_region_and_the_rest_does_not(site: Build) -> None:
    children = by_key(build_children(site()))
    for each in children.values():
        assert each["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    claims = children["StatefulSet", "eu-postgres"]["spec"]
    assert claims["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert claims["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
    for credential in credentials(site()):
        secret = build_secret(site(), credential, lambda: "p")
        assert "ownerReferences" not in secret["metadata"]
        assert secret["metadata"]["labels"]["fleetmeter.io/region"] == "eu"


def test_each_password_is_its_own(site: Build) -> None:
    passwords = iter(f"p{number}" for number in range(100))
    secrets = [build_secret(site(), each, lambda: next(passwords)) for each in credentials(site())]
    made = [password for secret in secrets for password in secret["stringData"].values()]
    assert len(made) == len(set(made)) == 12


def test_workers_read_the_region_file_as_their_model(site: Build) -> None:
    built = site(backfill={"from": "2023-01-01T00:00:00Z", "to": "2023-02-01T00:00:00Z"})
    text = config.build(built)["data"]["region.json"]
    assert Region.model_validate_json(text) == Region(name="eu", spec=built.spec)


def test_a_change_of_spec_or_image_rolls_and_migrates(site: Build) -> None:
    one, other = site(), site(retention={"queueHours": 500})
    newer = site(images=Images("workers:2", "kafka:1", "postgres:1", "mosquitto:1"))
    assert config.config_hash(one) != config.config_hash(other)
    names = {migrations.build(each)["metadata"]["name"] for each in (one, other, newer)}
    assert len(names) == 3
    assert migrations.build(site()) == migrations.build(one)


def test_each_secret_of_contracts_has_a_directory_of_its_own_and_may_be_missing(site: Build) -> None:
    """Two Secrets may hold files of the same name."""
    spec = templates(site())["api"]["spec"]
    sources = {volume["name"]: volume for volume in spec["volumes"]}
    found = {
        mount["mountPath"]: sources[mount["name"]].get("secret")
        for mount in spec["containers"][0]["volumeMounts"]
        if mount["name"].startswith("contracts")
    }
    assert found == {
        "/etc/fleetmeter/contracts/01": {"secretName": "one", "optional": True},
        "/etc/fleetmeter/contracts/02": {"secretName": "two", "optional": True},
    }
    bare = {v["name"]: v for v in templates(site(contracts={}, api={}))["api"]["spec"]["volumes"]}
    assert bare["contracts"] == {"name": "contracts", "emptyDir": {}}
    assert bare["tokens"] == {"name": "tokens", "emptyDir": {}}


def test_a_regions_own_figures_replace_only_what_they_name(site: Build) -> None:
    resources = {"limits": {"memory": "2Gi"}, "requests": {"cpu": "1"}}
    template = templates(site(consumers={"replicas": 2, "resources": resources}))["consumer"]
    assert template["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "1", "memory": "128Mi"},
        "limits": {"memory": "2Gi"},
    }


def test_a_close_is_one_attempt_that_a_data_error_ends_at_once(site: Build) -> None:
    job = close_job.build(site(), "eu-202301", "uid-2", 3, ["plan-a-1", "plan-b-2"], "in")
    assert job["metadata"]["name"] == "eu-202301-close-3"
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-2"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["close", "--billing-period", "eu-202301"]
    rule = job["spec"]["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": "close", "operator": "In", "values": [65, 75]}
    plans = next(v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "plans")
    paths = [source["configMap"]["items"][0]["path"] for source in plans["projected"]["sources"]]
    assert paths == ["plan-a-1.json", "plan-b-2.json"]


def test_a_volume_that_cannot_follow_the_spec_is_told_and_hinders_nothing(site: Build) -> None:
    def with_storage(size: str) -> Object:
        children = kafka.build(site(broker={"type": "Embedded", "embedded": {"storage": size}}))
        return by_key(children)["StatefulSet", "eu-kafka"]

    live, same, more = with_storage("1Gi"), with_storage("1024Mi"), with_storage("2Gi")
    assert stateful.keep_claims(more, None) == (more, None)
    assert stateful.keep_claims(same, live) == (same, None)
    kept, note = stateful.keep_claims(more, live)
    assert kept["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"]
    assert note is not None
    assert "data-eu-kafka-0 was made with 1Gi, the spec asks for 2Gi" in note
