"""The scalar types of the models: names, codes, decimal strings, instants, days, time zones, sizes."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)

Parsed = TypeVar("Parsed")

DECIMAL_PATTERN = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,12})?$"
BOUND_PATTERN = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{0,11}[1-9])?$"
INSTANT_PATTERN = (
    r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
DAY_PATTERN = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"
TIME_ZONE_PATTERN = r"^(UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){1,2})$"


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        value = format(value, "f")
    if not isinstance(value, str):
        raise ValueError(
            'write a decimal as a quoted string, for example "0.10"; a bare number may lose digits'
        )
    if not re.fullmatch(DECIMAL_PATTERN.strip("^$"), value):
        raise ValueError(
            "a decimal has at most 10 digits before the point and 12 after, no sign and no exponent"
        )
    return Decimal(value)


def _bound(value: Any) -> Decimal:
    bound = _decimal(value)
    if not re.fullmatch(BOUND_PATTERN.strip("^$"), format(bound, "f")):
        raise ValueError('write a bound without trailing zeros, for example "1000" or "0.5"')
    return bound


def _parsed(value: str, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(value)
    except ValueError:
        # Python's own message repeats the value, which a refusal must not.
        raise ValueError("no such date or time in the calendar; check month, day and hour") from None


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        if not re.fullmatch(INSTANT_PATTERN.strip("^$"), value):
            raise ValueError("write an instant as RFC 3339 with an offset, for example 2023-01-01T00:00:00Z")
        value = _parsed(value, datetime.fromisoformat)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("an instant needs a date, a time and an offset, for example 2023-01-01T00:00:00Z")
    return value.astimezone(UTC)


def _day(value: Any) -> date:
    if isinstance(value, str):
        if not re.fullmatch(DAY_PATTERN.strip("^$"), value):
            raise ValueError("write a day as YYYY-MM-DD, from 2000 to 2099")
        value = _parsed(value, date.fromisoformat)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("write a day as YYYY-MM-DD, without a time")
    if not 2000 <= value.year < 2100:
        raise ValueError("a day lies between 2000-01-01 and 2099-12-31")
    return value


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such time zone in the IANA database; write it as Europe/Paris or UTC") from None
    return value


def instant_text(value: datetime) -> str:
    """RFC 3339 in UTC with a `Z`, with microseconds only where there are any."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _decimal_text(value: Decimal) -> str:
    return format(value, "f")


DecimalText = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(_decimal_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DECIMAL_PATTERN, "minLength": 1, "maxLength": 23}),
]
"""A non-negative decimal: a quoted string outside, an exact Decimal inside (its digits as written)."""

BoundText = Annotated[
    Decimal,
    BeforeValidator(_bound),
    PlainSerializer(_decimal_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": BOUND_PATTERN, "minLength": 1, "maxLength": 23}),
]
"""A DecimalText without trailing zeros, so that one number has one text."""

Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(instant_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT_PATTERN, "maxLength": 32}),
]
"""A moment, 2000 to 2099, to the microsecond: RFC 3339 with an offset outside, an aware UTC time inside."""

Day = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "pattern": DAY_PATTERN, "maxLength": 10}),
]
"""A calendar day without a time, 2000 to 2099."""

TimeZone = Annotated[
    str,
    StringConstraints(min_length=3, max_length=64, pattern=TIME_ZONE_PATTERN),
    AfterValidator(_known_zone),
]
"""An IANA time zone. The cluster checks the form; Python checks that the zone exists."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""A name that can be a Service and a label: lower case, digits and hyphens, a letter first."""

SecretName = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]
"""The name of a Secret of the same namespace."""

MetricCode = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_]*$")]
"""The code of a metric, for example `messages`."""

Code = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A code of a contract, a customer, a charge or a plan's version."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line of text for people."""

Host = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$"),
]
"""A host name or an address."""

Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
"""A TCP port."""

ByteSize = Annotated[
    str, StringConstraints(min_length=2, max_length=14, pattern=r"^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti)$")
]
"""A size in bytes with a binary unit, for example `512Mi`."""

CpuAmount = Annotated[
    str, StringConstraints(min_length=1, max_length=10, pattern=r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,3})$")
]
"""Processor time: whole cores as `2`, thousandths as `250m`; a quoted string."""

Flag = Annotated[bool, Strict()]
"""True or false, and no text that means it."""

Count = Annotated[int, Strict(), Field(ge=0, le=2**53 - 1)]
"""A count that JSON numbers carry exactly."""
