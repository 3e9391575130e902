"""What live objects say of themselves: workloads that are ready, Jobs that ended, pods that lack a Secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fleetmeter_operator.build.site import Object


@dataclass(frozen=True)
class Workload:
    """Whether a workload runs as desired, and what it waits for when not."""

    ready: bool
    message: str


class JobState(StrEnum):
    """Where a Job is."""

    ABSENT = "Absent"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


def observe_workload(live: Object | None, name: str) -> Workload:
    """A StatefulSet or Deployment: ready when the pods of its newest template are."""
    if live is None:
        return Workload(False, f"{name} is being created")
    kind = live["kind"]
    status = live.get("status", {})
    wanted = live.get("spec", {}).get("replicas", 1)
    ready = status.get("readyReplicas", 0)
    updated = status.get("updatedReplicas", 0)
    current = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    if current and ready >= wanted and updated >= wanted:
        return Workload(True, f"{ready} of {wanted} pods ready")
    return Workload(False, f"{ready} of {wanted} pods ready; see kubectl describe {kind.lower()} {name}")


def observe_job(live: Object | None) -> JobState:
    """The state of a Job by its conditions."""
    if live is None:
        return JobState.ABSENT
    held = {
        condition["type"]
        for condition in live.get("status", {}).get("conditions", [])
        if condition.get("status") == "True"
    }
    if "Complete" in held:
        return JobState.SUCCEEDED
    return JobState.FAILED if "Failed" in held else JobState.RUNNING


def ended_at(job: Object) -> datetime | None:
    """When a Job completed or failed; None while it runs."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition.get("status") == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"].replace("Z", "+00:00"))
    return None


def exit_code(job: Object, pods: Iterable[Object]) -> int | None:
    """The exit code with which a failed Job's last pod ended; None where nothing tells it."""
    codes = [state["exitCode"] for state in _terminations(job, pods) if state.get("exitCode")]
    if codes:
        return codes[-1]
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == "Failed" and (
            match := re.search(r"exit code (\d+)", condition.get("message", ""))
        ):
            return int(match[1])
    return None


def last_words(job: Object, pods: Iterable[Object]) -> str:
    """The line that a failed Job's last pod left as its termination message, made fit for a condition."""
    words = [state["message"] for state in _terminations(job, pods) if state.get("message")]
    return re.sub(r"[^\x20-\x7e]+", " ", words[-1]).strip()[:200] if words else ""


def missing_secrets(pods: Iterable[Object]) -> list[str]:
    """The Secrets that waiting pods ask for and do not find, sorted."""
    found: set[str] = set()
    for pod in pods:
        for state in pod.get("status", {}).get("containerStatuses", []):
            waiting: Object = state.get("state", {}).get("waiting") or {}
            match = re.search(r'secret "([^"]+)" not found', waiting.get("message", ""))
            if waiting.get("reason") == "CreateContainerConfigError" and match:
                found.add(match[1])
    return sorted(found)


def _terminations(job: Object, pods: Iterable[Object]) -> list[Object]:
    """How the containers of a Job's pods ended, oldest first."""
    uid = job["metadata"].get("uid")
    own = [
        pod
        for pod in pods
        if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences", []))
    ]
    ended = [
        state["state"]["terminated"]
        for pod in own
        for state in pod.get("status", {}).get("containerStatuses", [])
        if state.get("state", {}).get("terminated")
    ]
    return sorted(ended, key=lambda state: state.get("finishedAt") or "")
