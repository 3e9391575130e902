"""A site on a real API server: stand-ins for kubelet and /status, and the operator as a process."""

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
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fleetmeter_cluster import binaries
from fleetmeter_cluster.ports import free_port
from fleetmeter_cluster.progress import await_true
from fleetmeter_operator.cluster import kinds

from .plane import Plane, running_plane

Object = dict[str, Any]
HERE = Path(__file__).parent
CHART = HERE.parents[2] / "charts" / "fleetmeter"
IMAGES = json.dumps({part: f"localhost/{part}:dev" for part in ("workers", "kafka", "postgres", "mosquitto")})
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with running_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


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

    def delete(self, kind: str, name: str, how: str = "Background") -> None:
        path = kinds.path(kind, self.namespace, name)
        self.plane.admin.delete(path, params={"propagationPolicy": how}).raise_for_status()

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

    def start_operator(self, resync_seconds: float = 1) -> None:
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
    ready = {"type": "Ready", "status": "True"}
    return {"phase": "Running", "conditions": [ready], "containerStatuses": None}


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
    with settled(plane, rules, tmp_path) as site:
        yield site


@pytest.fixture(scope="module")
def lasting(plane: Plane, rules: list[Object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that the tests of a module share, in their order."""
    with settled(plane, rules, tmp_path_factory.mktemp("lasting")) as site:
        yield site


@contextlib.contextmanager
def settled(plane: Plane, rules: list[Object], directory: Path) -> Generator[Site]:
    """A namespace with the operator's Role, stand-ins for the rest, and no operator yet."""
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
    site = Site(plane, namespace, directory)
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
        while not done.wait(0.1):
            with contextlib.suppress(httpx.HTTPError):
                site.run_pods()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=60)
