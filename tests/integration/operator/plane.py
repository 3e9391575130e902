"""A real API server with its store and its controllers."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from fleetmeter_api.manifests import KINDS
from fleetmeter_cluster import binaries
from fleetmeter_cluster.ports import free_port
from fleetmeter_cluster.progress import await_true
from fleetmeter_operator.cluster import kinds

AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [
        {"level": "Metadata", "users": ["operator"], "omitStages": ["RequestReceived"]},
        {"level": "None"},
    ],
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONTROLLERS = "*,-nodeipam,-nodelifecycle,-serviceaccount,-serviceaccount-token"


@dataclass
class Plane:
    """etcd, kube-apiserver and kube-controller-manager; no kubelet, so pods exist and never run."""

    directory: Path
    port: int
    admin: httpx.Client
    serve: Callable[[], subprocess.Popen[bytes]]
    server: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the API server, for the first time or after its death."""
        self.server = self.serve()
        await_true(lambda: answers(self.admin, "/readyz"), "the API server", 60)

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig of a user of the token file."""
        path = self.directory / f"{user}.kubeconfig"
        authority = str(self.directory / "certs" / "apiserver.crt")
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": authority}
        contexts = [{"name": "it", "context": {"cluster": "it", "user": user}}]
        users = [{"name": user, "user": {"token": f"{user}-token"}}]
        config = {"contexts": contexts, "clusters": [{"name": "it", "cluster": cluster}], "users": users}
        config |= {"apiVersion": "v1", "kind": "Config", "current-context": "it"}
        path.write_text(yaml.safe_dump(config))
        return path

    def audited(self, namespace: str) -> list[tuple[str, str]]:
        """What the operator asked of the API server in a namespace: verb and resource, in order."""
        return [(entry["verb"], entry["objectRef"]["resource"]) for entry in self._audit(namespace)]

    def forbidden(self, namespace: str) -> list[tuple[str, str]]:
        """What of it the operator had no right to."""
        return [
            (entry["verb"], entry["objectRef"]["resource"])
            for entry in self._audit(namespace)
            if entry["responseStatus"]["code"] == 403
        ]

    def _audit(self, namespace: str) -> list[dict[str, Any]]:
        entries = (json.loads(line) for line in (self.directory / "audit.log").read_text().splitlines())
        return [entry for entry in entries if entry.get("objectRef", {}).get("namespace") == namespace]


@contextlib.contextmanager
def running_plane(directory: Path) -> Generator[Plane]:
    """A plane of its own in the directory, with our kinds."""
    with ExitStack() as stack:
        serve, port = store(directory, stack)
        headers = {"Authorization": "Bearer admin-token"}
        url = f"https://127.0.0.1:{port}"
        admin = stack.enter_context(httpx.Client(base_url=url, headers=headers, verify=False, timeout=30))
        plane = Plane(directory, port, admin, serve)
        plane.start()
        for kind in KINDS:
            admin.post(DEFINITIONS, json=kind.definition()).raise_for_status()
        for kind in kinds.CUSTOM:
            await_true(lambda of=kind: answers(admin, kinds.path(of, "default")), f"kind {kind}", 30)
        # The garbage collector knows the kinds that it finds at its start; for new ones it looks every 30 s.
        config = ("--kubeconfig", str(plane.kubeconfig("admin")))
        flags = (f"--controllers={CONTROLLERS}", "--leader-elect=false", "--secure-port=0")
        spawn(directory, stack, "kube-controller-manager", *config, *flags)
        yield plane


def store(directory: Path, stack: ExitStack) -> tuple[Callable[[], subprocess.Popen[bytes]], int]:
    """Start etcd; what starts an API server on it, and that one's port."""
    etcd, peer, port = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{etcd}"
    key = directory / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    tokens = "admin-token,admin,admin,system:masters\noperator-token,operator,operator\n"
    (directory / "tokens.csv").write_text(tokens)
    (directory / "audit.yaml").write_text(yaml.safe_dump(AUDIT))
    urls = (f"--listen-client-urls={url}", f"--advertise-client-urls={url}")
    own = (f"--data-dir={directory}/etcd", f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync")
    spawn(directory, stack, "etcd", *urls, *own)
    options = {
        "etcd-servers": url,
        "secure-port": port,
        "bind-address": "127.0.0.1",
        "cert-dir": directory / "certs",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": "10.96.0.0/16",
        "authorization-mode": "RBAC",
        "token-auth-file": directory / "tokens.csv",
        "disable-admission-plugins": "ServiceAccount",
        "audit-policy-file": directory / "audit.yaml",
        "audit-log-path": directory / "audit.log",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return partial(spawn, directory, stack, "kube-apiserver", *flags), port


def spawn(directory: Path, stack: ExitStack, program: str, *flags: str) -> subprocess.Popen[bytes]:
    """Start a program of the cluster; the stack kills it."""
    log = stack.enter_context((directory / f"{program}.log").open("ab"))
    process = subprocess.Popen([binaries.path(program), *flags], stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.HTTPError:
        return False
