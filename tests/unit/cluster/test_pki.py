"""Certificates as Kubernetes reads them, checked by openssl and by a TLS handshake."""

import base64
import json
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from fleetmeter_cluster.pki import Authority, Subject


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A new authority in a folder of its own."""
    made = Authority(tmp_path / "pki")
    made.create()
    return made


def describe(certificate: Path) -> str:
    words = ["openssl", "x509", "-noout", "-text", "-in", str(certificate)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_user_and_group_are_in_the_subject(authority: Authority) -> None:
    authority.sign(Subject("kubelet", "system:node:eu", "system:nodes"))
    text = describe(authority.folder / "kubelet.crt")
    assert "O = system:nodes, CN = system:node:eu" in text
    assert "TLS Web Client Authentication" in text
    assert "TLS Web Server Authentication" not in text


def test_a_server_serves_its_names_and_no_others(authority: Authority) -> None:
    authority.sign(Subject("server", "kube-apiserver", serves=("localhost", "127.0.0.1")))
    assert handshake(authority, "127.0.0.1") == "CN=kube-apiserver"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority, "10.0.0.1")


def handshake(authority: Authority, name: str) -> str:
    """Greets a TLS server that has the certificate `server`, as if it had that name."""
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(authority.folder / "server.crt", authority.folder / "server.key")
    trust = ssl.create_default_context(cafile=str(authority.certificate))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            try:
                own.wrap_socket(accepted, server_side=True).close()
            except OSError:
                accepted.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname()) as raw,
                trust.wrap_socket(raw, server_hostname=name) as greeted,
            ):
                peer = greeted.getpeercert() or {}
        finally:
            thread.join()
    subject: list[tuple[tuple[str, str], ...]] = list(peer["subject"])  # type: ignore[arg-type]
    return ",".join(f"CN={value}" for part in subject for key, value in part if key == "commonName")


def test_keys_and_kubeconfigs_are_readable_by_their_owner_alone(authority: Authority, tmp_path: Path) -> None:
    authority.sign(Subject("admin", "admin", "system:masters"))
    authority.kubeconfig("admin", "https://10.0.0.1:6443", tmp_path / "kubeconfig")
    secret = [*authority.folder.glob("*.key"), tmp_path / "kubeconfig"]
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert authority.folder.stat().st_mode & 0o777 == 0o700


def test_a_kubeconfig_holds_all_that_is_needed(authority: Authority, tmp_path: Path) -> None:
    authority.sign(Subject("admin", "admin", "system:masters"))
    authority.kubeconfig("admin", "https://10.0.0.1:6443", tmp_path / "kubeconfig")
    document = json.loads((tmp_path / "kubeconfig").read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    assert cluster["server"] == "https://10.0.0.1:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.certificate.read_bytes()
    assert base64.b64decode(user["client-key-data"]) == (authority.folder / "admin.key").read_bytes()
