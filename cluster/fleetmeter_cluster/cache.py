"""Where built parts are kept: entries named by the hash of their inputs, made once, whole or not at all."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def root() -> Path:
    """The cache directory, outside the work tree: $FLEETMETER_CACHE, else ~/.cache/fleetmeter."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FLEETMETER_CACHE") or Path(caches) / "fleetmeter")


def digest(parts: Iterable[str | bytes | Path]) -> str:
    """The hash (16 hex digits) of texts, bytes, files and folders (with the names and modes in them)."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in _files(part):
                total.update(_framed(file.relative_to(part).as_posix().encode()))
                total.update(_framed(b"x" if os.access(file, os.X_OK) else b"-"))
                total.update(_framed(file.read_bytes()))
        else:
            total.update(_framed(part.encode() if isinstance(part, str) else part))
    return total.hexdigest()[:16]


def entry(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory `kind/key` of the cache; where it is missing, `make` fills it.

    `make` gets an empty directory, which becomes the entry by one rename: what is interrupted leaves none.
    Of several processes one makes it, the others wait.
    """
    home = root() / kind
    final = home / key
    if final.is_dir():
        return final
    home.mkdir(parents=True, exist_ok=True)
    with (home / f".{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return final
        for rest in home.glob(f".{key}.*/"):
            shutil.rmtree(rest, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=home))
        try:
            draft.chmod(0o755)
            make(draft)
            draft.rename(final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return final


def prune(kind: str, kept: int) -> None:
    """Removes all but the newest entries of a kind, and the drafts of runs that were killed."""
    home = root() / kind
    entries = [e for e in home.iterdir() if e.is_dir() and not e.name.startswith(".")]
    for old in sorted(entries, key=lambda e: e.stat().st_mtime, reverse=True)[kept:]:
        shutil.rmtree(old, ignore_errors=True)
    for draft in home.glob(".*.*/"):
        with (home / f".{draft.name.split('.')[1]}.lock").open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(draft, ignore_errors=True)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data
