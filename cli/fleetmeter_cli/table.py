"""Tables and JSON on standard output, the same way in every command."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE: Final = 500
"""Columns where nobody looks: a program that searches the lines finds whole words."""


class Output(StrEnum):
    """How a command answers."""

    table = "table"
    json = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
]


def console() -> Console:
    """Standard output as it is now: colours and folding on a terminal only."""
    out = Console(highlight=False, soft_wrap=False)
    if not out.is_terminal:
        out.width = _WIDE
    return out


def show(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    empty: str,
    right: Sequence[str] = (),
    widths: Mapping[str, int] | None = None,
) -> None:
    """Print a table; `right` names the columns of numbers, `widths` those that keep theirs on a terminal, and
    `empty` is said where there are no rows."""
    out = console()
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    for name in columns:
        justify = "right" if name in right else "left"
        width = (widths or {}).get(name) if out.is_terminal else None
        table.add_column(name, justify=justify, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if table.row_count == 0:
        out.print(empty, style="dim")
        return
    out.print(table)


def moment(instant: str | None) -> str:
    """An RFC 3339 instant for a narrow column: in UTC, to the minute, empty for None."""
    if instant is None:
        return ""
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%d %H:%M}"


def show_json(value: Any) -> None:
    """Print JSON, indented."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
