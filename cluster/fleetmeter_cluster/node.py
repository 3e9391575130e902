"""The node: containerd, kubelet and kube-proxy, each with its configuration, and the images it holds."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template

from fleetmeter_cluster import binaries
from fleetmeter_cluster.command import run, succeeds
from fleetmeter_cluster.namespace import Namespace
from fleetmeter_cluster.progress import Step, await_true
from fleetmeter_cluster.state import Place

SOCKET = "/run/containerd/containerd.sock"
"""Inside the cluster's own mount namespace, where /run is its own."""

DAEMONS = ("containerd", "kubelet", "kube-proxy")
PLUGINS = Path("/usr/lib/cni")
DOMAIN = "cluster.local"

CONTAINERD = Template("""\
version = 2
root = "$home/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "$socket"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$home/cni/bin"
    conf_dir = "$home/cni/conf"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
""")


def configure(place: Place, pause: str) -> None:
    """Writes the configuration of the three daemons; `pause` is the image that holds a pod's namespaces."""
    values = {"home": place.home, "socket": SOCKET, "pause": pause}
    (place.home / "containerd.toml").write_text(CONTAINERD.substitute(values))
    (place.home / "resolv.conf").write_text("# Nothing outside of the cluster is reached.\n")
    (place.home / "kubelet.json").write_text(json.dumps(_kubelet(place), indent=2))
    (place.home / "kube-proxy.json").write_text(json.dumps(_proxy(place), indent=2))
    plugins, configuration = place.home / "cni" / "bin", place.home / "cni" / "conf"
    plugins.mkdir(parents=True, exist_ok=True)
    configuration.mkdir(parents=True, exist_ok=True)
    for name in ("host-local", "loopback", "portmap"):
        shutil.copy2(PLUGINS / name, plugins / name)


def start_containerd(namespace: Namespace, step: Step | None = None) -> None:
    """Starts containerd where it does not run, and waits until it answers."""
    if "containerd" not in namespace.daemons():
        config = namespace.place.home / "containerd.toml"
        namespace.start("containerd", ["containerd", "--config", config, "--log-level", "warn"])
    question = namespace.enter("ctr", "--address", SOCKET, "version")
    log = namespace.log("containerd")
    await_true(lambda: succeeds(question), "containerd to answer", step=step, seconds=60, log=log)


def start_kubelet(namespace: Namespace) -> None:
    """Starts kubelet and kube-proxy where they don't run; the API server and containerd must answer."""
    place, running = namespace.place, namespace.daemons()
    if "kubelet" not in running:
        options = [
            f"--config={place.home / 'kubelet.json'}",
            f"--kubeconfig={place.home / 'pki' / 'kubelet.kubeconfig'}",
            f"--hostname-override={place.name}",
            f"--node-ip={place.node_address}",
        ]
        namespace.start("kubelet", [binaries.path("kubelet"), *options])
    if "kube-proxy" not in running:
        namespace.start(
            "kube-proxy", [binaries.path("kube-proxy"), f"--config={place.home / 'kube-proxy.json'}"]
        )


def load(namespace: Namespace, archives: Sequence[Path], step: Step | None = None) -> None:
    """Puts into the node those image archives that it has not taken in yet."""
    importing = ("ctr", "--address", SOCKET, "--namespace", "k8s.io", "images", "import", "-")
    record = namespace.place.home / "images"
    known = record.read_text().splitlines() if record.exists() else []
    for archive in archives:
        entry = f"{archive} {archive.stat().st_ino} {archive.stat().st_mtime_ns}"
        if entry in known:
            continue
        if step is not None:
            step.say(f"containerd, which takes in {archive}")
        # The file is opened on the host: inside, its folder may be hidden.
        with archive.open("rb") as data:
            run(namespace.enter(*importing), source=data)
        with record.open("a") as file:
            file.write(f"{entry}\n")


def _kubelet(place: Place) -> dict[str, object]:
    pki = place.home / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "clusterDNS": [place.dns_address],
        "clusterDomain": DOMAIN,
        "resolvConf": str(place.home / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.full_name}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # Lets the kubelet go on where it may not set the machine's kernel settings.
        "featureGates": {"KubeletInUserNamespace": True},
        # The root device has no name here, so nothing can be said of its free space.
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "64Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        # Images come from files alone: one that was removed would never come back.
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "registerNode": True,
    }


def _proxy(place: Place) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(place.home / "pki" / "kube-proxy.kubeconfig")},
        "hostnameOverride": place.name,
        "mode": "iptables",
        "clusterCIDR": str(place.pod_network),
        # The table of connections belongs to the whole machine.
        "conntrack": {"maxPerCore": 0},
    }
