"""Instants: aware UTC datetimes to the microsecond, as integers and as RFC 3339 text."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The instant `micros` microseconds after 1970-01-01T00:00:00Z. Raises OverflowError outside years
    1-9999."""
    return EPOCH + micros * _MICROSECOND


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exact. Raises ValueError for a datetime without a zone."""
    require_aware(instant)
    since = instant - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def rfc3339(instant: datetime) -> str:
    """The instant in UTC with a `Z`, with six fraction digits or none: 2023-04-04T00:00:00Z."""
    require_aware(instant)
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def require_aware(instant: datetime) -> None:
    """Raises ValueError for a datetime without a zone: such a value names no instant."""
    if instant.tzinfo is not UTC and instant.utcoffset() is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; give an aware datetime")
