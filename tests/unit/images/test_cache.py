"""The cache of built parts: whole entries only, one maker, a hash of everything that matters."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetmeter_cluster import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("FLEETMETER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(draft: Path) -> None:
    (draft / "part").write_text("whole")


def test_entry_is_made_once():
    made: list[Path] = []
    paths = {cache.entry("kind", "key", lambda draft: (made.append(draft), fill(draft))[1]) for _ in range(3)}
    assert len(made) == 1
    assert {(path / "part").read_text() for path in paths} == {"whole"}


def test_of_several_at_once_one_makes_it():
    made: list[Path] = []

    def make(draft: Path) -> None:
        made.append(draft)
        fill(draft)

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: cache.entry("kind", "key", make), range(8)))
    assert len(paths) == len(made) == 1


def test_a_failed_making_leaves_no_entry(own_cache: Path):
    def fail(draft: Path) -> None:
        fill(draft)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.entry("kind", "key", fail)
    assert [path.name for path in (own_cache / "kind").iterdir() if path.is_dir()] == []
    assert (cache.entry("kind", "key", fill) / "part").exists()


def test_the_draft_of_a_killed_run_is_removed(own_cache: Path):
    program = (
        "import os, signal; from fleetmeter_cluster import cache;"
        "cache.entry('kind', 'key', lambda d: os.kill(os.getpid(), signal.SIGKILL))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert len([path for path in (own_cache / "kind").iterdir() if path.is_dir()]) == 1
    cache.entry("kind", "key", fill)
    assert [path.name for path in (own_cache / "kind").iterdir() if path.is_dir()] == ["key"]


def test_prune_keeps_the_newest():
    for number in range(5):
        cache.entry("kind", f"key{number}", fill)
    cache.prune("kind", 2)
    left = {path.name for path in (cache.root() / "kind").iterdir() if path.is_dir()}
    assert left == {"key3", "key4"}


def test_digest_sees_content_names_and_modes(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "one"
    seen: set[str] = set()

    def look() -> None:
        seen.add(cache.digest([folder]))

    file.write_text("a")
    look()
    file.write_text("b")
    look()
    file.chmod(0o755)
    look()
    file.rename(folder / "two")
    look()
    assert len(seen) == 4
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "two.pyc").write_bytes(b"made")
    look()
    assert len(seen) == 4


def test_digest_keeps_parts_apart():
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])
