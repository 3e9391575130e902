"""The commands of `fleetmeter`, each imported when it is asked for: most need a few of the libraries only."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

_PLACES: Final = {
    "usage": "usage:show_usage",
    "invoices": "invoices:app",
    "review": "review:app",
    "completeness": "completeness:app",
    "quarantine": "quarantine:app",
    "devices": "devices:app",
    "contracts": "contracts:app",
    "plans": "plans:app",
    "price": "price:show_price",
    "preview": "preview:preview",
    "load": "load:load",
    "backfill": "backfill:app",
    "replay": "replay:replay",
    "simulate": "simulate:simulate",
}
"""Module and name of each command, in the order of `--help`."""


class Commands(TyperGroup):
    """A group whose commands are those of this module."""

    def __init__(self, *, commands: object = None, **settings: Any) -> None:
        """`commands` is what typer found registered: nothing."""
        super().__init__(commands=cast(dict[str, Any], _Imported()), **settings)


class _Imported(Mapping[str, TyperCommand | TyperGroup]):
    """Names are known at once; a command is imported by looking at it."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        module, _, noun = _PLACES[name].partition(":")
        found: typer.Typer | Callable[..., None] = getattr(import_module(f"fleetmeter_cli.{module}"), noun)
        holder = typer.Typer(rich_markup_mode="rich")
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name)
        else:
            holder.command(name)(found)
        return cast(TyperCommand | TyperGroup, typer.main.get_group(holder).commands[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)
