"""The certificates of a cluster, made by openssl, and the kubeconfigs that carry them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from fleetmeter_cluster.command import run

DAYS = "3650"


@dataclass(frozen=True)
class Subject:
    """One certificate: its file name, the user and group that Kubernetes reads in it, the names it serves."""

    file: str
    user: str
    group: str = ""
    serves: tuple[str, ...] = ()


class Authority:
    """The certificate authority of one cluster, and the folder with all that it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def certificate(self) -> Path:
        """The authority's own certificate, which every part trusts."""
        return self.folder / "ca.crt"

    def create(self) -> None:
        """Makes the authority's key and certificate, and the pair that signs service account tokens."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key("ca")
        extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature")
        options = [word for extension in extensions for word in ("-addext", extension)]
        paths = ["-key", self.folder / "ca.key", "-out", self.certificate]
        run(["openssl", "req", "-x509", "-new", "-days", DAYS, "-subj", "/CN=fleetmeter", *options, *paths])
        self._key("accounts")
        private, public = self.folder / "accounts.key", self.folder / "accounts.pub"
        run(["openssl", "pkey", "-in", private, "-pubout", "-out", public])

    def sign(self, subject: Subject) -> None:
        """Makes `<file>.key` and `<file>.crt` for the subject."""
        self._key(subject.file)
        names = ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in subject.serves)
        usage = "serverAuth,clientAuth" if names else "clientAuth"
        extensions = f"extendedKeyUsage={usage}\nkeyUsage=critical,digitalSignature\n"
        extensions += f"subjectAltName={names}\n" if names else ""
        wanted, terms = self.folder / f"{subject.file}.csr", self.folder / f"{subject.file}.ext"
        terms.write_text(extensions)
        group = f"/O={subject.group}" if subject.group else ""
        key = self.folder / f"{subject.file}.key"
        run(["openssl", "req", "-new", "-key", key, "-subj", f"{group}/CN={subject.user}", "-out", wanted])
        authority = ["-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-CAcreateserial"]
        paths = ["-in", wanted, "-extfile", terms, "-out", self.folder / f"{subject.file}.crt"]
        run(["openssl", "x509", "-req", "-sha256", "-days", DAYS, *authority, *paths])

    def kubeconfig(self, file: str, server: str, target: Path, *, namespace: str = "default") -> None:
        """Writes a kubeconfig that holds the subject's certificate and key, readable by its owner alone."""
        user = {
            "client-certificate-data": _encoded(self.folder / f"{file}.crt"),
            "client-key-data": _encoded(self.folder / f"{file}.key"),
        }
        cluster = {"server": server, "certificate-authority-data": _encoded(self.certificate)}
        context = {"cluster": "fleetmeter", "user": file, "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fleetmeter",
            "clusters": [{"name": "fleetmeter", "cluster": cluster}],
            "users": [{"name": file, "user": user}],
            "contexts": [{"name": "fleetmeter", "context": context}],
        }
        target.touch(mode=0o600)
        target.write_text(json.dumps(document, indent=2) + "\n")

    def _key(self, file: str) -> None:
        target = self.folder / f"{file}.key"
        target.touch(mode=0o600)
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        run(["openssl", "genpkey", *curve, "-out", target])


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
