"""A real API server with its controllers, stand-ins for kubelet and /status, the operator as a process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fleetmeter_api.manifests import KINDS
from fleetmeter_cluster import binaries
from fleetmeter_cluster.progress import await_true
from fleetmeter_local.ports import free_port
from fleetmeter_operator.cluster import kinds

Object = dict[str, Any]
HERE = Path(__file__).parent
CHART = HERE.parents[2] / "charts" / "fleetmeter"
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
IMAGES = json.dumps({part: f"localhost/{part}:dev" for part in ("workers", "kafka", "postgres", "mosquitto")})
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass
class Plane:
    """etcd, kube-apiserver and kube-controller-manager; no kubelet, so pods exist and never run."""

    directory: Path
    port: int
    admin: httpx.Client
    server: subprocess.Popen[bytes]

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
        entries = (json.loads(line) for line in (self.directory / "audit.log").read_text().splitlines())
        return [
            (entry["verb"], entry["objectRef"]["resource"])
            for entry in entries
            if entry.get("objectRef", {}).get("namespace") == namespace
        ]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    directory = tmp_path_factory.mktemp("plane")
    with ExitStack() as stack:
        server, port = start(directory, stack)
        headers = {"Authorization": "Bearer admin-token"}
        url = f"https://127.0.0.1:{port}"
        admin = stack.enter_context(httpx.Client(base_url=url, headers=headers, verify=False, timeout=30))
        plane = Plane(directory, port, admin, server)
        await_true(lambda: answers(admin, "/readyz"), "the API server", 60)
        config = ("--kubeconfig", str(plane.kubeconfig("admin")))
        flags = (f"--controllers={CONTROLLERS}", "--leader-elect=false", "--secure-port=0")
        spawn(directory, stack, "kube-controller-manager", *config, *flags)
        for kind in KINDS:
            admin.post(DEFINITIONS, json=kind.definition()).raise_for_status()
        for kind in kinds.CUSTOM:
            await_true(lambda of=kind: answers(admin, kinds.path(of, "default")), f"kind {kind}", 30)
        yield plane


def start(directory: Path, stack: ExitStack) -> tuple[subprocess.Popen[bytes], int]:
    etcd, peer, port = free_port(), free_port(), free_port()
    store = f"http://127.0.0.1:{etcd}"
    key = directory / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    tokens = "admin-token,admin,admin,system:masters\noperator-token,operator,operator\n"
    (directory / "tokens.csv").write_text(tokens)
    (directory / "audit.yaml").write_text(yaml.safe_dump(AUDIT))
    urls = (f"--listen-client-urls={store}", f"--advertise-client-urls={store}")
    own = (f"--data-dir={directory}/etcd", f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync")
    spawn(directory, stack, "etcd", *urls, *own)
    options = {
        "etcd-servers": store,
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
    return spawn(directory, stack, "kube-apiserver", *flags), port


def spawn(directory: Path, stack: ExitStack, program: str, *flags: str) -> subprocess.Popen[bytes]:
    """Start a program of the cluster; the stack kills it."""
    log = stack.enter_context((directory / f"{program}.log").open("wb"))
    process = subprocess.Popen([binaries.path(program), *flags], stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.HTTPError:
        return False


@dataclass
class Site:
    """One namespace with the operator's Role, and what stands in for nodes and workers."""

    plane: Plane
    namespace: str
    directory: Path
    reports: dict[str, Object] = field(default_factory=dict[str, Object])
    outcomes: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    starved: set[str] = field(default_factory=set[str])
    process: subprocess.Popen[bytes] | None = None
    probe_port: int = 0
    status_url: str = ""

    def get(self, kind: str, name: str) -> Object | None:
        answer = self.plane.admin.get(kinds.path(kind, self.namespace, name))
        return answer.json() if answer.is_success else None

    def every(self, kind: str, selector: str = "") -> list[Object]:
        path = kinds.path(kind, self.namespace)
        return self.plane.admin.get(path, params={"labelSelector": selector}).json()["items"]

    def names(self, kind: str, selector: str = "") -> list[str]:
        return [each["metadata"]["name"] for each in self.every(kind, selector)]

    def create(self, body: Object) -> None:
        self.plane.admin.post(kinds.path(body["kind"], self.namespace), json=body).raise_for_status()

    def patch(self, kind: str, name: str, body: Object, subresource: str = "") -> None:
        path = kinds.path(kind, self.namespace, name, subresource)
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = self.plane.admin.patch(path, content=json.dumps(body), headers=headers)
        assert answer.is_success or answer.status_code in (404, 409), answer.text

    def delete(self, kind: str, name: str) -> None:
        self.plane.admin.delete(kinds.path(kind, self.namespace, name)).raise_for_status()

    def condition(self, kind: str, name: str, type_: str) -> tuple[str, str, str]:
        for found in (self.get(kind, name) or {}).get("status", {}).get("conditions", []):
            if found["type"] == type_:
                return found["status"], found["reason"], found["message"]
        return "", "", ""

    def phase(self, kind: str, name: str) -> str:
        return (self.get(kind, name) or {}).get("status", {}).get("phase", "")

    def phases(self) -> list[str]:
        return [each.get("status", {}).get("phase", "") for each in self.every("BillingPeriod")]

    def writes(self) -> list[tuple[str, str]]:
        """What the operator wrote here, by the audit log."""
        return [(verb, what) for verb, what in self.plane.audited(self.namespace) if verb in WRITES]

    def start_operator(self, resync_seconds: float = 2) -> None:
        self.probe_port = free_port()
        env = {
            **os.environ,
            "KUBECONFIG": str(self.plane.kubeconfig("operator")),
            "WATCH_NAMESPACE": self.namespace,
            "JURISDICTION": "EU",
            "FLEETMETER_IMAGES": IMAGES,
            "FLEETMETER_LISTEN": "127.0.0.1",
            "FLEETMETER_PORT": str(self.probe_port),
            "FLEETMETER_STATUS_URL": self.status_url,
            "FLEETMETER_RESYNC_SECONDS": str(resync_seconds),
        }
        command = [sys.executable, "-m", "fleetmeter_operator"]
        with (self.directory / "operator.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        await_true(lambda: self.probe("readyz") == 200, "the operator to be ready", 30)

    def stop_operator(self, how: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=30)

    def probe(self, what: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self.probe_port}/{what}", timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def rounds(self, kind: str = "BillingRegion") -> int:
        """How often the operator has reconciled the kind, by its own metric."""
        text = httpx.get(f"http://127.0.0.1:{self.probe_port}/metrics", timeout=5).text
        lines = [line for line in text.splitlines() if f'kind="{kind}"' in line]
        return sum(int(line.split()[-1]) for line in lines)

    def resident(self) -> int:
        """The operator's resident memory, in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    def log(self) -> str:
        return (self.directory / "operator.log").read_text()

    def run_pods(self) -> None:
        """What a kubelet would do at once: run each pod, end each Job's pod with its next outcome."""
        for pod in self.every("Pod"):
            labels, phase = pod["metadata"]["labels"], pod["status"].get("phase")
            component = labels.get("app.kubernetes.io/component", "")
            if component in self.starved:
                self.patch("Pod", pod["metadata"]["name"], {"status": waiting(component)}, "status")
            elif phase not in ("Running", "Succeeded", "Failed"):
                status = self.end(component, labels) if component in ("migrate", "close") else running()
                self.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")

    def end(self, component: str, labels: Mapping[str, str]) -> Object:
        period = labels.get("fleetmeter.io/period", "")
        code = self.outcomes[period].pop(0) if self.outcomes.get(period) else 0
        if period and code == 0:
            self.seal(period)
        return ended(component, code)

    def seal(self, period: str) -> None:
        """The ledger after a close: all contract periods of the period are final."""
        report = self.reports[period.rsplit("-", 1)[0]]["periods"][period]
        report.update(
            final=report["contractPeriods"], open=0, sealable=False, invoices=report["contractPeriods"]
        )

    def report(self, region: str, *periods: str, **more: Any) -> None:
        """What the region says at /status: periods that are sealable, one contract period each."""
        each = {"contractPeriods": 1, "open": 1, "events": 739, "duplicates": 2, "sealable": True}
        self.reports[region] = {
            "consumer": {"lag": 0},
            "contracts": {"loaded": 1, "refused": []},
            "periods": {f"{region}-{period}": dict(each) for period in periods},
            **more,
        }


def running() -> Object:
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def ended(container: str, code: int) -> Object:
    words = {65: "plan iot is not there", 75: "UsagePending"}.get(code, "")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    state = {"terminated": {"exitCode": code, "message": words, "startedAt": now, "finishedAt": now}}
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status_of(container, state)]}


def waiting(component: str) -> Object:
    secret = f'secret "eu-{component}-auth" not found'
    state = {"waiting": {"reason": "CreateContainerConfigError", "message": secret}}
    return {"phase": "Pending", "conditions": [], "containerStatuses": [status_of(component, state)]}


def status_of(container: str, state: Mapping[str, Any]) -> Object:
    fixed = {"image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    return {"name": container, "state": dict(state), **fixed}


def body(kind: str, usual: str, name: str = "", **spec: Any) -> Object:
    """The object of a kind in bodies.yaml, under a name, with fields of its spec replaced."""
    bodies = yaml.safe_load_all((HERE / "bodies.yaml").read_text())
    found = next(each for each in bodies if each["kind"] == kind)
    return {**found, "metadata": {"name": name or usual}, "spec": found["spec"] | spec}


@pytest.fixture
def region() -> Callable[..., Object]:
    return partial(body, "BillingRegion", "eu")


@pytest.fixture
def plan() -> Callable[..., Object]:
    return partial(body, "PricingPlan", "iot")


@pytest.fixture(scope="session")
def rules() -> list[Object]:
    """The rules of the Role in the chart: the tests run the operator with exactly these."""
    command = [binaries.path("helm"), "template", "it", CHART, "--set", "jurisdiction=EU"]
    command += ["--kube-version", "1.34.0", "--show-only", "templates/role.yaml"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(each["rules"] for each in yaml.safe_load_all(text) if each["kind"] == "Role")


@pytest.fixture
def site(plane: Plane, rules: list[Object], tmp_path: Path) -> Iterator[Site]:
    namespace = f"it-{uuid.uuid4().hex[:8]}"
    admin = plane.admin
    admin.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    role = {"metadata": {"name": "operator"}, "rules": rules}
    admin.post(f"{rbac}/roles", json=role).raise_for_status()
    group = "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "Role", "name": "operator"}
    subjects = [{"apiGroup": group, "kind": "User", "name": "operator"}]
    binding = {"metadata": {"name": "operator"}, "roleRef": reference, "subjects": subjects}
    admin.post(f"{rbac}/rolebindings", json=binding).raise_for_status()
    site = Site(plane, namespace, tmp_path)
    with status_server(site), kubelet(site):
        yield site
        if site.process is not None and site.process.poll() is None:
            site.stop_operator()
    admin.delete(f"/api/v1/namespaces/{namespace}")


@contextlib.contextmanager
def status_server(site: Site) -> Generator[None]:
    """Serves each region's report; a region without one does not answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            report = site.reports.get(self.path.strip("/"))
            self.send_response(200 if report is not None else 503)
            self.end_headers()
            self.wfile.write(json.dumps(report or {}).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.status_url = f"http://127.0.0.1:{server.server_port}/{{region}}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def kubelet(site: Site) -> Generator[None]:
    """Runs the site's pods until the end; an API server that does not answer is waited for."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.3):
            with contextlib.suppress(httpx.HTTPError):
                site.run_pods()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=60)
