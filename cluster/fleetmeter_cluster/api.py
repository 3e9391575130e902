"""The cluster's API as its administrator calls it: kubectl, for the tool's own needs."""

from pathlib import Path

from fleetmeter_cluster import binaries
from fleetmeter_cluster.command import run
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step, await_true


def kubectl(kubeconfig: Path, *words: str, text: str | None = None) -> str:
    """Runs kubectl and returns what it prints. Raises Failure when it exits non-zero."""
    return run([binaries.path("kubectl"), f"--kubeconfig={kubeconfig}", *words], text=text)


def apply(kubeconfig: Path, text: str, step: Step | None = None, *, seconds: float = 30) -> None:
    """Applies manifests, again for a while where a kind of theirs is not served yet."""
    errors: list[Failure] = []

    def applied() -> bool:
        try:
            options = ("--server-side", "--force-conflicts", "--field-manager=fleetmeter-cluster")
            kubectl(kubeconfig, "apply", *options, "-f", "-", text=text)
        except Failure as failure:
            errors.append(failure)
            return False
        return True

    try:
        await_true(applied, "manifests to be accepted", step=step, seconds=seconds)
    except Failure as failure:
        raise Failure(f"manifests were not accepted: {errors[-1].message}") from failure


def node_ready(kubeconfig: Path, name: str) -> bool:
    """Whether the node says that it is ready; False as well where the API server does not answer."""
    path = "{.status.conditions[?(@.type=='Ready')].status}"
    try:
        printed = kubectl(
            kubeconfig, "get", "node", name, f"--output=jsonpath={path}", "--request-timeout=5s"
        )
    except Failure:
        return False
    return printed.strip() == "True"


def await_rollout(kubeconfig: Path, namespace: str, deployment: str, step: Step) -> None:
    """Waits until a Deployment has all its pods ready. Raises Failure after two minutes."""
    step.say(f"the Deployment {deployment} to be ready")
    words = ("rollout", "status", f"deployment/{deployment}", "--timeout=120s")
    kubectl(kubeconfig, "--namespace", namespace, *words)
