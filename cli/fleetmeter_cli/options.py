"""Options that are the fields of a dataclass, each described where it is defined."""

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, TypeVar, cast

Command = TypeVar("Command", bound=Callable[..., None])


def with_fields_of(model: type[object]) -> Callable[[Command], Command]:
    """The command's `**` parameter becomes an option for each field; options without a default come first."""

    def decorate(command: Command) -> Command:
        own = inspect.signature(command).parameters.values()
        every = [
            *inspect.signature(model).parameters.values(),
            *(parameter for parameter in own if parameter.kind is not Parameter.VAR_KEYWORD),
        ]
        every.sort(key=lambda parameter: parameter.default is not Parameter.empty)
        named = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in every]
        # Where typer looks for what a command takes.
        cast("Any", command).__signature__ = inspect.Signature(named)
        return command

    return decorate
