"""Strict JSON: bytes to values, with nothing that two readers could read in two ways."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn, TypeAlias

import msgspec

from fleetmeter_wire.message import MalformedError

MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 64
_DOUBTFUL: Final = object()
_DIGITS: Final = bytes(ord("0") if chr(code) in "0123456789" else ord(".") for code in range(256))
_MANY_DIGITS: Final = b"0" * MAX_DIGITS
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.S)

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | Decimal | bool | None"
Object: TypeAlias = dict[str, Value]


def loads(raw: bytes) -> Value:
    """The value of a UTF-8 JSON text. Numbers with a point or exponent come as Decimal, others as int.

    Raises MalformedError for text that is not UTF-8, for a name given twice in one object, NaN and Infinity,
    numbers of more than 64 characters or beyond any quantity, and nesting deeper than 32.
    """
    plain = _plain(raw)
    return _judge(raw) if plain is _DOUBTFUL else plain


def _judge(raw: bytes) -> Any:
    """The value, or what is wrong with the text, in words."""
    _check_depth(raw)
    try:
        return _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise MalformedError("the message is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"the message is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedError(f"the message is nested deeper than {MAX_DEPTH}") from None


def load_object(raw: bytes) -> Object:
    """The same, for a text that must be one object."""
    value = loads(raw)
    if not isinstance(value, dict):
        raise MalformedError("the message is JSON, but not an object; send {…}")
    return value


def _plain(raw: bytes) -> Any:
    """The value of a text that is beyond doubt, at half the cost; else _DOUBTFUL, which says nothing yet.

    Of a name given twice msgspec keeps one. Where no string has an escape, every quote begins or ends a
    string, so a text with as many quotes as its value written anew has lost no name.
    """
    # find, since `in` would first take the bytes for a number, and format an error.
    if not raw.isascii() or raw.find(b"\\") >= 0 or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        return _DOUBTFUL
    if raw.translate(_DIGITS).find(_MANY_DIGITS) >= 0:
        return _DOUBTFUL
    try:
        value = _READER.decode(raw)
        anew = _WRITER.encode(value)
    except (msgspec.MsgspecError, ValueError, MalformedError):
        return _DOUBTFUL
    return value if anew.count(b'"') == raw.count(b'"') else _DOUBTFUL


def _check_depth(raw: bytes) -> None:
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(raw):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedError(f"the message is nested deeper than {MAX_DEPTH}")
        elif first in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(f"the name {twice[:60]!a} is given twice in one object; send it once")
    return found


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise MalformedError(f"a number has {len(text)} characters; {MAX_DIGITS} are the most")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise MalformedError(f"the number {text} is out of range") from None


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise MalformedError(f"a number has {len(text)} characters; {MAX_DIGITS} are the most")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise MalformedError(f"{text} is not a number that can be billed", "quantity_invalid")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
)
_READER: Final = msgspec.json.Decoder(float_hook=_decimal)
_WRITER: Final = msgspec.json.Encoder(decimal_format="number")
