"""A bare API server with the three kinds, and objects to try on it."""

import copy
import re
import ssl
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fleetmeter_api.manifests import GROUP, KINDS, VERSION
from fleetmeter_cluster.controlplane import apiserver
from fleetmeter_cluster.progress import await_true

BASES = Path(__file__).parent / "bases.yaml"
PLURALS = {kind.kind: kind.plural for kind in KINDS}
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Cause:
    """Why the server refused: where (indexes as []), and its sentence."""

    at: str
    message: str


@dataclass(frozen=True)
class Server:
    """A client of the bare API server."""

    http: httpx.Client

    @staticmethod
    def path(resource: Mapping[str, Any]) -> str:
        """The collection that the object belongs to."""
        return f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURALS[resource['kind']]}"

    def defaulted(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """The object as the server would store it."""
        return (
            self.http.post(self.path(resource), json=resource, params=strictly(True))
            .raise_for_status()
            .json()
        )

    def create(self, resource: Mapping[str, Any], dry: bool = True) -> list[Cause]:
        """Create the object, for real or not; the causes of a refusal, none when accepted."""
        return self._sent(self.http.post(self.path(resource), json=resource, params=strictly(dry)))

    def replace(self, resource: Mapping[str, Any], part: str = "") -> list[Cause]:
        """Replace a stored object (or its status) without storing it."""
        path = f"{self.path(resource)}/{resource['metadata']['name']}{part}"
        stored = self.http.get(path).raise_for_status().json()
        metadata = {**resource["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}
        return self._sent(self.http.put(path, json={**resource, "metadata": metadata}, params=strictly(True)))

    def delete(self, resource: Mapping[str, Any]) -> None:
        """Delete a stored object."""
        self.http.delete(f"{self.path(resource)}/{resource['metadata']['name']}").raise_for_status()

    def _sent(self, response: httpx.Response) -> list[Cause]:
        if response.is_success:
            return []
        body = response.json()
        assert response.status_code in (400, 422), body
        causes = body.get("details", {}).get("causes") or [{"message": body["message"]}]
        return [Cause(re.sub(r"\[\d+\]", "[]", item.get("field", "")), item["message"]) for item in causes]


def strictly(dry: bool) -> dict[str, str]:
    """Refuse unknown fields, and store nothing in a dry run."""
    return {"fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}


@dataclass(frozen=True)
class Bases:
    """Objects that the server accepts, by name."""

    objects: dict[str, Any]

    def edited(self, name: str, *edits: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the object with each dotted path set, removed (None) or appended to (+)."""
        result = copy.deepcopy(self.objects[name])
        for path, value in (item for edit in edits for item in edit.items()):
            *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
            holder: Any = result
            for step in steps:
                holder = holder[step]
            if last == "+":
                holder.append(value)
            elif value is None:
                del holder[last]
            else:
                holder[last] = value
        return result


@pytest.fixture(scope="session")
def bases() -> Bases:
    """The objects of bases.yaml."""
    return Bases(yaml.safe_load(BASES.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A kube-apiserver on its own etcd, with the three definitions established."""
    with apiserver(tmp_path_factory.mktemp("apiserver")) as kubeconfig, client_of(kubeconfig) as client:
        for kind in KINDS:
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            answer = client.post(path, json=kind.definition())
            assert answer.is_success, answer.text
        for kind in KINDS:
            path = f"/apis/{GROUP}/{VERSION}/{kind.plural}"
            await_true(lambda at=path: client.get(at).is_success, f"{path} to be served", PATIENCE_SECONDS)
        yield Server(client)


def client_of(kubeconfig: Path) -> httpx.Client:
    """An HTTP client with the certificates of a kubeconfig."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    pair = kubeconfig.with_suffix(".pem")
    keys = (user["client-certificate-data"], user["client-key-data"])
    pair.write_bytes(b"".join(b64decode(key) for key in keys))
    context.load_cert_chain(pair)
    return httpx.Client(base_url=cluster["server"], verify=context, timeout=PATIENCE_SECONDS)
