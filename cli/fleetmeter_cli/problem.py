"""What a command says when it can't go on: one sentence and a remedy, and the exit code that scripts see."""

from collections.abc import Generator
from contextlib import contextmanager

import typer
from rich.console import Console

REFUSED = 1
UNREACHABLE = 69


class Problem(Exception):  # noqa: N818 - what a person reads, not an error of the program
    """Ends the command. `remedy` says what to do; `code` is the exit code."""

    def __init__(self, message: str, remedy: str = "", code: int = REFUSED) -> None:
        """Both texts are plain sentences."""
        super().__init__(message)
        self.remedy = remedy
        self.code = code


@contextmanager
def told() -> Generator[None]:
    """Turn a Problem into its two lines on standard error, and its exit code."""
    try:
        yield
    except Problem as problem:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]error:[/] {_plain(str(problem))}")
        if problem.remedy:
            console.print(f"[dim]remedy:[/] {_plain(problem.remedy)}")
        raise typer.Exit(problem.code) from None


def _plain(text: str) -> str:
    """Square brackets of foreign text are no markup."""
    return text.replace("[", "\\[")
