"""Time evidence: how far an event's time can be trusted and why, as a small number beside the row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fleetmeter_rules.event_time import Quality, Resolved

NOT_RECORDED: Final = 0
"""Rows of before evidence was recorded, and events without a time."""

_QUALITY_BITS: Final = 3
_MOST: Final = (1 << 15) - 1
# Numbers and bits are stored for ever, so both lists only grow, and every name keeps its place.
_QUALITIES: Final[Mapping[Quality, int]] = {
    Quality.RECEIVED: 1,
    Quality.TRUSTED: 2,
    Quality.CORRECTED: 3,
    Quality.UNVERIFIED: 4,
}
_FLAGS: Final = (
    "second_60",
    "event_time_unreadable",
    "gps_rollover",
    "seconds_for_milliseconds",
    "counter_wrap",
    "local_time",
    "hybrid",
    "fallback",
    "clock_behind",
    "clock_ahead",
    "clock_unset",
    "other",
)
# Every other name is its own words.
_WORDS: Final[Mapping[str, str]] = {
    "received": "time of receipt",
    "second_60": "leap second",
    "event_time_unreadable": "event time unreadable",
    "gps_rollover": "GPS week rollover",
    "seconds_for_milliseconds": "seconds read as milliseconds",
    "counter_wrap": "counter wrapped",
    "hybrid": "hybrid rule",
    "fallback": "receipt as fallback",
    "clock_unset": "clock never set",
    "other": "otherwise mended",
}
_BITS: Final = {flag: 1 << (_QUALITY_BITS + place) for place, flag in enumerate(_FLAGS)}
_BY_NUMBER: Final = {number: quality for quality, number in _QUALITIES.items()}


@dataclass(frozen=True, slots=True)
class TimeEvidence:
    """What was known about the time of an event; `quality` is None where that was not recorded.

    `flags`: what was mended or guessed. `clock_behind`, `clock_ahead`: by the pair of times that the message
    holds, the device's wall clock was off by more than its stated uncertainty.
    """

    quality: Quality | None
    flags: tuple[str, ...] = ()


def pack(resolved: Resolved) -> int:
    """The evidence as a number from 1 to 32767; a flag that has no bit of its own counts as `other`."""
    number = _QUALITIES[resolved.quality]
    for flag in resolved.flags:
        number |= _BITS.get(flag, _BITS["other"])
    offset = resolved.offset
    if offset is not None and abs(offset) > resolved.uncertainty:
        number |= _BITS["clock_behind" if offset.days >= 0 else "clock_ahead"]
    return number


def unpack(number: int) -> TimeEvidence:
    """The evidence behind a stored number. Raises ValueError for one that `pack` never makes."""
    if number == NOT_RECORDED:
        return TimeEvidence(None)
    quality = _BY_NUMBER.get(number & ((1 << _QUALITY_BITS) - 1))
    if quality is None or not 0 < number <= _MOST or number >> (_QUALITY_BITS + len(_FLAGS)):
        raise ValueError(f"time evidence {number} is of a newer version")
    return TimeEvidence(quality, tuple(flag for flag, bit in _BITS.items() if number & bit))


def readable(number: int) -> TimeEvidence:
    """The evidence as far as this version can read it: unknown behind a number of a newer one."""
    try:
        return unpack(number)
    except ValueError:
        return TimeEvidence(None)


def in_words(quality: str | None, flags: Iterable[str]) -> str:
    """The evidence for people, like "corrected; clock behind"; a name of a newer version as it is written."""
    names = ("unknown" if quality is None else quality, *flags)
    return "; ".join(_WORDS.get(name, name.replace("_", " ")) for name in names)
