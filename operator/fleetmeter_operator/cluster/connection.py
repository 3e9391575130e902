"""Where the API server is and who asks: the pod's service account, or a kubeconfig outside a cluster."""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConnectionSettingsError(Exception):
    """Neither a service account nor a usable kubeconfig was found; the message says where it looked."""


@dataclass(frozen=True)
class Connection:
    """The API server's address, its TLS context, and the token of the moment (None: client certificate)."""

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], str | None]


def connection(env: Mapping[str, str]) -> Connection:
    """The connection of this process. Raises ConnectionSettingsError."""
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
    token = _ACCOUNT / "token"
    if not env.get("KUBECONFIG") and host and token.exists():
        bracketed = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
        # The kubelet rotates the token, so it is read for each request.
        return Connection(f"https://{bracketed}:{port}", tls, lambda: token.read_text().strip())
    return _from_kubeconfig(Path(env.get("KUBECONFIG") or Path.home() / ".kube" / "config"))


def _from_kubeconfig(path: Path) -> Connection:
    if not path.is_file():
        raise ConnectionSettingsError(f"no service account in this pod and no kubeconfig at {path}")
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    context = _named(config, "contexts", config.get("current-context", ""))["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    tls = _tls(path.parent, cluster, user) if cluster["server"].startswith("https") else None
    return Connection(cluster["server"].rstrip("/"), tls, lambda: user.get("token"))


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config.get(section, []):
        if entry["name"] == name:
            return entry
    raise ConnectionSettingsError(f"the kubeconfig has no entry {name!r} in {section}; set current-context")


def _tls(base: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _bytes(base, cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _bytes(base, user, "client-certificate"), _bytes(base, user, "client-key")
    if certificate and key:
        # OpenSSL loads a chain from a file only; the file is gone as soon as it is loaded.
        with tempfile.NamedTemporaryFile() as both:
            both.write(certificate + b"\n" + key)
            both.flush()
            tls.load_cert_chain(both.name)
    return tls


def _bytes(base: Path, entry: dict[str, Any], field: str) -> bytes | None:
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data)
    return (base / entry[field]).read_bytes() if entry.get(field) else None
