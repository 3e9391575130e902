"""What a cluster has beside its node: DNS, dynamic volumes, and the namespace of the demo."""

from string import Template

from fleetmeter_cluster import api, images
from fleetmeter_cluster.controlplane import MANIFESTS
from fleetmeter_cluster.node import DOMAIN
from fleetmeter_cluster.progress import Step
from fleetmeter_cluster.state import Place

IMAGES = ("pause", "coredns", "local-path-provisioner")
"""The images of the cluster itself."""


def apply(place: Place, step: Step) -> None:
    """Applies all manifests; the pods that they ask for start once the node is Ready."""
    values = {
        "dns.yaml": {
            "domain": DOMAIN,
            "address": place.dns_address,
            "image": images.reference("coredns"),
        },
        "volumes.yaml": {
            "folder": str(place.home / "volumes"),
            "helper": images.reference("pause"),
            "image": images.reference("local-path-provisioner"),
        },
        "namespace.yaml": {},
    }
    texts = [Template((MANIFESTS / name).read_text()).substitute(own) for name, own in values.items()]
    api.apply(place.kubeconfig, "\n---\n".join(texts), step)


def await_ready(place: Place, step: Step) -> None:
    """Waits until names are answered and volumes can be made."""
    api.await_rollout(place.kubeconfig, "kube-system", "coredns", step)
    api.await_rollout(place.kubeconfig, "local-path-storage", "local-path-provisioner", step)
