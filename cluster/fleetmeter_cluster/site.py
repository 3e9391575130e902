"""One region's release in one namespace of a cluster: what a person would type to install and use it."""

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fleetmeter_api.region import Region
from fleetmeter_cluster import binaries
from fleetmeter_cluster.failure import Failure

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "examples" / "demo"
TRACES = PROJECT / "examples" / "traces"
LOADS = {"helium": "helium-ems-04b1c1.ndjson.gz", "chirpstack": "chirpstack-wyres-32.ndjson.gz"}
"""The traces, by the adapter that reads them."""
CRD_NAMESPACE = "fleetmeter-crds"


@dataclass(frozen=True)
class Site:
    """A namespace of the cluster behind `kubeconfig`, its region, and a private folder for its API token."""

    kubeconfig: Path
    private: Path
    namespace: str = "fleetmeter"
    region: str = "eu"

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables for kubectl, helm and the fleetmeter command."""
        path = f"{binaries.path('kubectl').parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "FLEETMETER_TOKEN": self.token,
            "PATH": path,
        }

    @cached_property
    def token(self) -> str:
        """The bearer token of this site's administrator, made once and kept readable by its owner alone."""
        file = self.private / f"{self.namespace}.token"
        if not file.exists():
            self.private.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_urlsafe(32))
        return file.read_text()

    def run(
        self, words: Sequence[str | Path], *, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Runs a command and returns what it printed. Raises Failure with its complaint if it fails."""
        done = subprocess.run(  # noqa: S603
            [str(word) for word in words],
            input=stdin,
            capture_output=True,
            text=True,
            env={**self.environment, **(env or {})},
            check=False,
        )
        if done.returncode:
            shown = " ".join(str(word) for word in words[:6])
            raise Failure(
                f"`{shown} …` failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}"
            )
        return done.stdout

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """Runs kubectl in this site's namespace."""
        return self.run([binaries.path("kubectl"), "-n", self.namespace, *words], stdin=stdin)

    def objects(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """The objects of a kind in this namespace, oldest name first."""
        return json.loads(self.kubectl("get", kind, "-o", "json", "--sort-by=.metadata.name", *words))[
            "items"
        ]

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object, or None where there is none."""
        found = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(found) if found.strip() else None

    def show(self, words: Sequence[str | Path]) -> None:
        """Runs a command whose output is for the person at this terminal. Raises Failure if it fails."""
        sys.stdout.flush()
        if subprocess.run([str(word) for word in words], env=self.environment, check=False).returncode:  # noqa: S603
            raise Failure(f"`{Path(words[0]).name} …` failed: see above")

    def command(self, *words: str | Path) -> list[str | Path]:
        """The fleetmeter command for this site's region."""
        command = Path(sys.executable).with_name("fleetmeter")
        return [command, "--region", self.region, "--namespace", self.namespace, *words]

    def fleetmeter(self, *words: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Runs the fleetmeter command against this site's region."""
        return self.run(self.command(*words), env=env)

    def helm(self, *words: str | Path) -> str:
        """Runs helm."""
        return self.run([binaries.path("helm"), *words])

    def apply(self, document: str) -> None:
        """Applies a manifest on the server's side."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=document)

    def install(self, images: Mapping[str, str], *values: str) -> None:
        """Makes the namespace (Pod Security `restricted`) and installs the CRDs and the operator.

        `values` are more of the chart's, each "name=value".
        """
        self.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(self.namespace)))
        self.helm(
            *("upgrade", "--install", "fleetmeter-crds", PROJECT / "charts" / "fleetmeter-crds"),
            *("--namespace", CRD_NAMESPACE, "--create-namespace", "--wait"),
        )
        settings = ["jurisdiction=EU", *(f"images.{name}={image}" for name, image in images.items()), *values]
        chosen = [word for setting in settings for word in ("--set", setting)]
        self.helm(
            *("upgrade", "--install", "fleetmeter", PROJECT / "charts" / "fleetmeter"),
            *("--namespace", self.namespace, *chosen),
            *("--wait", "--timeout", "180s"),
        )

    def grant(self, examples: Path = EXAMPLES) -> None:
        """Makes the Secrets that the region names: contracts, the seller, and the tokens of its API."""
        tokens = {
            "tokens": [
                {
                    "name": "demo-admin",
                    "role": "admin",
                    "sha256": hashlib.sha256(self.token.encode()).hexdigest(),
                }
            ]
        }
        contracts = {file.name: file.read_text() for file in sorted((examples / "contracts").glob("*.yaml"))}
        self.secret("contracts", contracts)
        self.secret("seller", {"seller.yaml": (examples / "seller.yaml").read_text()})
        self.secret("tokens", {"tokens.yaml": json.dumps(tokens)})

    def secret(self, name: str, data: Mapping[str, str]) -> None:
        """Makes or replaces a Secret."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}
        self.apply(json.dumps(body))

    def password(self, secret: str, key: str) -> str:
        """A generated password, read as the cluster's administrator may."""
        found = self.get("secret", secret)
        if found is None:
            raise Failure(f"there is no Secret {secret} in namespace {self.namespace}")
        return base64.b64decode(found["data"][key]).decode()

    def condition(self, kind: str, name: str, wanted: str) -> tuple[str, str]:
        """A condition's status and message; ("Unknown", …) while it is not there."""
        found = self.get(kind, name) or {}
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == wanted:
                return condition["status"], condition.get("message", "")
        return "Unknown", f"the operator has not looked at {kind} {name} yet"

    @contextlib.contextmanager
    def forwarded(self, target: str, port: int) -> Generator[int]:
        """A port on loopback that leads to `target` ("service/eu-mosquitto") while the block runs."""
        words = [binaries.path("kubectl"), "-n", self.namespace, "port-forward", target, f":{port}"]
        with subprocess.Popen(  # noqa: S603
            [str(word) for word in words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        ) as forward:
            try:
                line = forward.stdout.readline() if forward.stdout else ""
                match = re.search(r"127\.0\.0\.1:(\d+)", line)
                if match is None:
                    raise Failure(f"kubectl port-forward {target}: {line.strip() or 'ended without a word'}")
                yield int(match[1])
            finally:
                forward.terminate()

    def load(self, backfill: str, trace: Path, adapter: str) -> str:
        """Loads a trace as history through the MQTT entrance; returns the loader's closing sentence."""
        password = self.password(f"{self.region}-mqtt-auth", "backfill-password")
        with self.forwarded(f"service/{self.region}-mosquitto", 1883) as port:
            return self.fleetmeter(
                *("load", trace, "--adapter", adapter, "--mqtt", f"127.0.0.1:{port}"),
                *("--user", "backfill", "--password-env", "FLEETMETER_MQTT_PASSWORD", "--backfill", backfill),
                env={"FLEETMETER_MQTT_PASSWORD": password},
            )


def backfill_of(region: Region) -> str:
    """The id of the backfill that a region asks for. Raises Failure where it asks for none."""
    if region.backfill_id is None:
        raise Failure(
            f"region {region.name} has no backfill in its spec; the traces are history and need one"
        )
    return region.backfill_id


def namespace(name: str) -> dict[str, Any]:
    """A namespace in which every pod must be restricted."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
