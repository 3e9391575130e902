"""The target: which region a command asks."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """The options before the command."""

    api: str | None = None
    token_file: Path | None = None
    region: str | None = None
    namespace: str = "fleetmeter"
