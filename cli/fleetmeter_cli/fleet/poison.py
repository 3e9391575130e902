"""Poison: messages that no device should send and every platform receives; none of them may be billed."""

from collections.abc import Callable
from typing import Final

from fleetmeter_cli.fleet.chance import Chance, between

_ITEMS: Final = '"items":[{"metric":"messages","quantity":%s}]'


def _with_quantity(quantity: str) -> Callable[[int, str], str]:
    return lambda received, device: (
        f'{{"_timestamp":{received},"device":"{device}","epoch":"poison","seq":1,{_ITEMS % quantity}}}'
    )


def _with_identity(identity: str) -> Callable[[int, str], str]:
    return lambda received, device: f'{{"_timestamp":{received},"device":"{device}",{identity}{_ITEMS % 1}}}'


def _truncated(received: int, device: str) -> str:
    return f'{{"_timestamp":{received},"device":"{device}","epoch":"poison","seq":2,"items":[{{"metr'


def _not_utf8(received: int, device: str) -> str:
    # U+DCFF is how a byte 0xFF is kept in text until it is written.
    return f'{{"_timestamp":{received},"device":"{device}\udcff","epoch":"poison","seq":3}}'


def _nested(received: int, device: str) -> str:
    deep = "[" * 60 + "]" * 60
    return f'{{"_timestamp":{received},"device":"{device}","epoch":"poison","seq":4,"more":{deep}}}'


def _stranger(received: int, device: str) -> str:
    return f'{{"_timestamp":{received},"device":"stranger-{device}","epoch":"1","seq":5,{_ITEMS % 1}}}'


def _no_object(received: int, device: str) -> str:
    return f'[{received},"{device}"]'


KINDS: Final[tuple[Callable[[int, str], str], ...]] = (
    _with_quantity("NaN"),
    _with_quantity("1e400"),
    _with_quantity('"-1"'),
    _with_quantity('"١٢"'),
    _with_quantity('"12345678901"'),
    _with_quantity("true"),
    _with_identity('"epoch":"1","seq":-1,'),
    _with_identity('"epoch":"\\ud800","seq":6,'),
    _with_identity('"id":"' + "x" * 10_000 + '",'),
    _with_identity('"epoch":"a","epoch":"b","seq":7,'),
    _with_identity(""),
    _truncated,
    _not_utf8,
    _nested,
    _stranger,
    _no_object,
)
"""Each from the receive time in milliseconds and the device's identity."""


def poison(received: int, device: str, source: Chance) -> str:
    """One of them."""
    return KINDS[between(source, 0, len(KINDS))](received, device)
