"""What a person is told when a step cannot go on: what is wrong, and what to do."""

from pathlib import Path


class Failure(RuntimeError):  # noqa: N818 - it is told to a person as it is
    """A step cannot go on. `remedy` says what to do, `log` where more can be read."""

    def __init__(self, message: str, *, remedy: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.log = log

    def __str__(self) -> str:
        lines = [self.message]
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        if self.log is not None:
            lines.append(f"Log: {self.log}")
        return "\n".join(lines)
