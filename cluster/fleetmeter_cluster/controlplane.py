"""The control plane: etcd, API server, controller manager, scheduler, and the certificates of all parts."""

import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fleetmeter_cluster import binaries
from fleetmeter_cluster.namespace import Namespace
from fleetmeter_cluster.pki import Authority, Subject
from fleetmeter_cluster.ports import free_port
from fleetmeter_cluster.progress import Step, await_true
from fleetmeter_cluster.state import Place

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
AUDIT_POLICY = "audit-policy.yaml"
AUDIT_MEGABYTES = 200
DAEMONS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def certify(place: Place) -> Authority:
    """Makes the certificates of a cluster and the kubeconfigs of its parts, all in its folder `pki`."""
    authority = Authority(place.home / "pki")
    authority.create()
    names = [
        f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")
    ]
    addresses = ("127.0.0.1", place.node_address, place.api_service_address)
    authority.sign(Subject("apiserver", "kube-apiserver", serves=(*names, "localhost", *addresses)))
    authority.sign(Subject("kubelet-server", place.name, serves=(place.name, place.node_address)))
    # The API server's own way to kubelets.
    authority.sign(Subject("apiserver-kubelet", "kube-apiserver-kubelet", "system:masters"))
    users = (
        Subject("admin", "admin", "system:masters"),
        Subject("kube-controller-manager", "system:kube-controller-manager"),
        Subject("kube-scheduler", "system:kube-scheduler"),
        Subject("kube-proxy", "system:kube-proxy"),
        Subject("kubelet", f"system:node:{place.name}", "system:nodes"),
        Subject("calico-node", "calico-node"),
        Subject("calico-cni-plugin", "calico-cni-plugin"),
    )
    server = f"https://{place.node_address}:6443"
    for user in users:
        authority.sign(user)
        authority.kubeconfig(user.file, server, authority.folder / f"{user.file}.kubeconfig")
    authority.kubeconfig("admin", server, place.kubeconfig)
    return authority


def start(namespace: Namespace, step: Step | None = None) -> None:
    """Starts what does not run of the control plane, and waits until the API server is ready."""
    running = namespace.daemons()
    place = namespace.place
    if "etcd" not in running:
        namespace.start("etcd", _etcd(place.home / "etcd", "127.0.0.1", 2379, 2380))
    if "kube-apiserver" not in running:
        place.audit_log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MANIFESTS / AUDIT_POLICY, place.home / AUDIT_POLICY)
        namespace.start("kube-apiserver", _apiserver(place))
    log = namespace.log("kube-apiserver")
    await_true(lambda: answers(place), "the API server to be ready", step=step, seconds=90, log=log)
    # Both leave for good when they start before the API server is ready.
    for name, options in (("kube-controller-manager", _controllers(place)), ("kube-scheduler", [])):
        if name not in running:
            config = f"--kubeconfig={place.home / 'pki' / f'{name}.kubeconfig'}"
            common = [config, "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false"]
            # By default forty controllers start one after another at twenty calls a second.
            common += ["--kube-api-qps=500", "--kube-api-burst=1000"]
            namespace.start(name, [binaries.path(name), *common, *options])


def answers(place: Place) -> bool:
    """Whether the cluster's API server says that it is ready."""
    return _ready(f"https://{place.node_address}:6443", place.home / "pki")


@contextmanager
def apiserver(folder: Path) -> Generator[Path]:
    """An API server with an etcd, alone on loopback, for tests of resource definitions; gives the kubeconfig.

    Nothing else runs: no controllers, no node. Ports are free ones; `folder` gets keys, data and logs.
    Raises Failure when it is not ready within a minute.
    """
    authority = Authority(folder / "pki")
    authority.create()
    authority.sign(Subject("apiserver", "kube-apiserver", serves=("localhost", "127.0.0.1")))
    authority.sign(Subject("admin", "admin", "system:masters"))
    client, peer, secure = free_port(), free_port(), free_port()
    server = f"https://127.0.0.1:{secure}"
    authority.kubeconfig("admin", server, folder / "kubeconfig")
    common = _server_options(authority.folder, f"http://127.0.0.1:{client}", "10.96.0.0/24")
    own = ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={secure}"]
    # ServiceAccounts are made by controllers, which don't run here.
    own += ["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"]
    commands = {
        "etcd": _etcd(folder / "etcd", "127.0.0.1", client, peer),
        "kube-apiserver": [binaries.path("kube-apiserver"), *common, *own],
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("ab") as log:
                running.append(subprocess.Popen(list(map(str, command)), stdout=log, stderr=log))  # noqa: S603
        what, log_file = "the API server to be ready", folder / "kube-apiserver.log"
        await_true(lambda: _ready(server, authority.folder), what, seconds=60, log=log_file)
        yield folder / "kubeconfig"
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def _etcd(data: Path, address: str, client: int, peer: int) -> list[str | Path]:
    mine, others = f"http://{address}:{client}", f"http://{address}:{peer}"
    urls = [f"--listen-client-urls={mine}", f"--advertise-client-urls={mine}", f"--listen-peer-urls={others}"]
    urls += [f"--initial-advertise-peer-urls={others}", f"--initial-cluster=default={others}"]
    # The cluster is made anew after a crash of the machine, so nothing needs to reach the disk at once.
    return [binaries.path("etcd"), f"--data-dir={data}", "--unsafe-no-fsync", "--log-level=warn", *urls]


def _server_options(pki: Path, etcd: str, services: str) -> list[str]:
    return [
        f"--etcd-servers={etcd}",
        f"--service-cluster-ip-range={services}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'accounts.key'}",
        "--profiling=false",
    ]


def _apiserver(place: Place) -> list[str | Path]:
    pki = place.home / "pki"
    return [
        binaries.path("kube-apiserver"),
        *_server_options(pki, "http://127.0.0.1:2379", str(place.service_network)),
        f"--advertise-address={place.node_address}",
        "--secure-port=6443",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
        # `kubectl logs` would else look up the node's name in a DNS that isn't there.
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={place.home / AUDIT_POLICY}",
        f"--audit-log-path={place.audit_log}",
        f"--audit-log-maxsize={AUDIT_MEGABYTES}",
    ]


def _controllers(place: Place) -> list[str]:
    pki = place.home / "pki"
    return [
        f"--service-account-private-key-file={pki / 'accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=false",
    ]


def _ready(server: str, pki: Path) -> bool:
    if not (pki / "ca.crt").exists():
        return False
    trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    trust.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    # A proxy of this machine is not the way to its own namespaces.
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with urllib.request.build_opener(*handlers).open(f"{server}/readyz", timeout=3) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
