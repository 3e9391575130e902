"""The pod shape that every part shares: unprivileged, read-only, no token, small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleetmeter_operator.build.site import Images, Object

USER = 10001


def value(name: str, text: str) -> Object:
    """An environment variable with a plain value."""
    return {"name": name, "value": text}


def from_secret(name: str, secret: str, key: str) -> Object:
    """An environment variable whose value stays in a Secret; the pod waits while it is missing."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def memory(request: str, limit: str, cpu: str = "50m") -> Object:
    """Resources with a memory limit and no processor limit: throttling helps nobody."""
    return {"requests": {"cpu": cpu, "memory": request}, "limits": {"memory": limit}}


def tcp_probe(port: int, period: int = 5, failures: int = 3) -> Object:
    """A probe that asks only whether the port is open."""
    return {
        "tcpSocket": {"port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def http_probe(path: str, port: int, period: int = 5, failures: int = 3) -> Object:
    """A probe of a worker's health endpoint."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def container(
    name: str, image: str, images: Images, *, mounts: Sequence[Object] = (), **fields: object
) -> Object:
    """One hardened container; `fields` are the container's own (env, args, ports, probes, resources)."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": images.pull_policy,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (a mount path in the pod)
        **fields,
    }


def pod(
    labels: Mapping[str, str],
    body: Object,
    images: Images,
    *,
    volumes: Sequence[Object] = (),
    annotations: Mapping[str, str] | None = None,
    **fields: object,
) -> Object:
    """A pod template around one container; `fields` are the pod's own."""
    metadata: Object = {"labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [body],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        **fields,
    }
    if images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in images.pull_secrets]
    return {"metadata": metadata, "spec": spec}
