"""Which program comes from which module, and when it is built anew."""

from pathlib import Path

import pytest

from fleetmeter_cluster import binaries
from fleetmeter_cluster.failure import Failure

PROGRAM = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> binaries.Module:
    """A small module with a program `hello`, and a cache of its own."""
    folder = tmp_path / "modules" / "small" / "hello"
    folder.mkdir(parents=True)
    (folder.parent / "go.mod").write_text("module small\n\ngo 1.24.0\n")
    (folder / "main.go").write_text(PROGRAM)
    monkeypatch.setattr(binaries, "MODULES", tmp_path / "modules")
    monkeypatch.setenv("FLEETMETER_CACHE", str(tmp_path / "cache"))
    return binaries.Module("small", (("./hello",),), "", ("hello",), "1", 1, lambda *_: None)


def test_a_module_is_built_once_and_again_when_a_source_changes(module: binaries.Module) -> None:
    first = binaries.build(module)
    stamp = (first / "hello").stat().st_mtime_ns
    assert binaries.build(module) == first
    assert (first / "hello").stat().st_mtime_ns == stamp
    (binaries.MODULES / "small" / "hello" / "main.go").write_text(PROGRAM.replace("hello", "goodbye"))
    assert not binaries.built(module)
    assert binaries.build(module) != first


def test_a_build_that_fails_leaves_nothing_in_the_cache(module: binaries.Module, tmp_path: Path) -> None:
    (binaries.MODULES / "small" / "hello" / "main.go").write_text("package main\n\nfunc main() { broken }\n")
    with pytest.raises(Failure, match="broken"):
        binaries.build(module)
    assert not binaries.built(module)
    assert [path for path in (tmp_path / "cache" / "bin").iterdir() if path.is_dir()] == []


def test_an_unknown_program_is_refused() -> None:
    with pytest.raises(Failure, match="no program nothing"):
        binaries.path("nothing")


def test_every_module_pins_its_sums() -> None:
    for folder in binaries.MODULES.iterdir():
        assert (folder / "go.sum").read_text(), folder
