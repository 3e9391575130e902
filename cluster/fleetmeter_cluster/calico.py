"""Calico: the pods' network and the engine of NetworkPolicies, as one process of the node."""

import json
import shutil
import urllib.error
import urllib.request
from string import Template

from fleetmeter_cluster import api, binaries
from fleetmeter_cluster.controlplane import MANIFESTS
from fleetmeter_cluster.namespace import Namespace
from fleetmeter_cluster.progress import Step, await_true
from fleetmeter_cluster.state import Place

DAEMON = "calico-felix"
MTU = 1500
ENDPOINTS = "/var/run/calico"
"""Where the network plugin waits for felix to say that a new pod's policies hold."""

HEALTH_PORT = 9099


def define(place: Place, step: Step) -> None:
    """Gives the API server Calico's kinds, its roles, and the pool of pod addresses."""
    api.apply(place.kubeconfig, binaries.path("crds.yaml").read_text(), step)
    api.apply(place.kubeconfig, binaries.path("roles.yaml").read_text(), step)
    pool = Template((MANIFESTS / "calico.yaml").read_text())
    api.apply(place.kubeconfig, pool.substitute(pods=place.pod_network), step)


def start(namespace: Namespace, step: Step | None = None) -> None:
    """Starts felix where it does not run, waits until it is ready, and only then lets pods have addresses.

    So the node is Ready after felix is, and no pod starts before policies hold.
    """
    if DAEMON not in namespace.daemons():
        namespace.run("mkdir", "-p", ENDPOINTS)
        namespace.start(DAEMON, [binaries.path(DAEMON), "-c", "/dev/null"], _environment(namespace.place))
    log = namespace.log(DAEMON)
    await_true(lambda: ready(namespace.place), "Calico's felix to be ready", step=step, seconds=60, log=log)
    _install(namespace.place)


def ready(place: Place) -> bool:
    """Whether felix says that the policies it knows are in force."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{place.node_address}:{HEALTH_PORT}/readiness", timeout=3) as response:
            return response.status < 300
    except (urllib.error.URLError, OSError):
        return False


def _environment(place: Place) -> dict[str, str]:
    settings = {
        "DATASTORETYPE": "kubernetes",
        "FELIXHOSTNAME": place.name,
        "IPV6SUPPORT": "false",
        "DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",
        "ROUTESOURCE": "CalicoIPAM",
        "USAGEREPORTINGENABLED": "false",
        "XDPENABLED": "false",
        "HEALTHENABLED": "true",
        # The health page answers on the node's own address: the host asks it there.
        "HEALTHHOST": place.node_address,
        "HEALTHPORT": str(HEALTH_PORT),
        "ENDPOINTSTATUSPATHPREFIX": ENDPOINTS,
        "FAILSAFEINBOUNDHOSTPORTS": "none",
        "FAILSAFEOUTBOUNDHOSTPORTS": "none",
        "LOGSEVERITYSCREEN": "info",
        "LOGFILEPATH": "none",
    }
    kubeconfig = place.home / "pki" / "calico-node.kubeconfig"
    return {"KUBECONFIG": str(kubeconfig)} | {f"FELIX_{key}": value for key, value in settings.items()}


def _install(place: Place) -> None:
    """Puts the plugin and, last, its configuration where containerd looks for them."""
    plugins, configuration = place.home / "cni" / "bin", place.home / "cni" / "conf" / "10-calico.conflist"
    if configuration.exists():
        return
    program = binaries.path("calico")
    for name in ("calico", "calico-ipam"):
        if not (plugins / name).exists():
            shutil.copy2(program, plugins / name)
    draft = configuration.with_suffix(".draft")
    draft.write_text(json.dumps(_network(place), indent=2))
    draft.rename(configuration)


def _network(place: Place) -> dict[str, object]:
    plugin = {
        "type": "calico",
        "log_level": "warning",
        "datastore_type": "kubernetes",
        "nodename": place.name,
        "nodename_file_optional": True,
        "mtu": MTU,
        "policy_setup_timeout_seconds": 15,
        "endpoint_status_dir": f"{ENDPOINTS}/endpoint-status",
        "ipam": {"type": "calico-ipam"},
        "policy": {"type": "k8s"},
        "kubernetes": {"kubeconfig": str(place.home / "pki" / "calico-cni-plugin.kubeconfig")},
    }
    ports = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
    return {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [plugin, ports]}
