"""The scalar types: what text they take, what they become, and what they refuse."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from fleetmeter_api.values import BoundText, Day, DecimalText, Instant, TimeZone


@pytest.mark.parametrize("text", ["0", "0.10", "9999999999.999999999999", "10"])
def test_a_decimal_keeps_its_digits(text: str) -> None:
    adapter = TypeAdapter[Decimal](DecimalText)
    assert adapter.validate_python(text) == Decimal(text)
    assert adapter.dump_python(adapter.validate_python(text)) == text


@pytest.mark.parametrize(
    "value",
    [
        *(0.1, 1, True, None, Decimal("NaN"), Decimal(-1)),
        *("", "-1", "+1", "1e3", "01", ".5", "1.", "NaN", "Infinity", "1,5", " 1", "1\n", "١"),
        *("12345678901", "0.1234567890123"),
    ],
)
def test_what_is_no_decimal_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[Decimal](DecimalText).validate_python(value)


@pytest.mark.parametrize("value", ["1.0", "1.50", "0.0"])
def test_a_bound_has_no_trailing_zeros(value: str) -> None:
    with pytest.raises(ValidationError, match="without trailing zeros"):
        TypeAdapter[Decimal](BoundText).validate_python(value)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2023-01-01T00:00:00Z", datetime(2023, 1, 1, tzinfo=UTC)),
        ("2023-01-01T00:00:00.000001Z", datetime(2023, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("2023-01-01T00:00:00+02:00", datetime(2022, 12, 31, 22, tzinfo=UTC)),
        (datetime(2023, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2023, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_instant_becomes_utc(value: Any, moment: datetime) -> None:
    found = TypeAdapter[datetime](Instant).validate_python(value)
    assert found == moment
    assert found.utcoffset() == timedelta(0)


def test_an_instant_is_written_with_z() -> None:
    adapter = TypeAdapter[datetime](Instant)
    for text in ("2023-01-01T00:00:00Z", "2023-01-01T00:00:00.123456Z"):
        assert adapter.dump_python(adapter.validate_python(text)) == text


@pytest.mark.parametrize(
    "value",
    [
        *("2023-01-01", "2023-01-01T00:00:00", "2023-13-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        *(
            "2023-01-01t00:00:00z",
            "2023-02-29T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00+24:00",
        ),
        *("2023-01-01T00:00:00.1234567Z", 1672531200, date(2023, 1, 1)),
        datetime(2023, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    ],
)
def test_what_is_no_instant_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter[datetime](Instant).validate_python(value)
    assert f"'{value}'" not in refusal.value.errors()[0]["msg"]


@pytest.mark.parametrize("value", ["2023-01-31", date(2023, 1, 31)])
def test_a_day(value: Any) -> None:
    assert TypeAdapter[date](Day).validate_python(value) == date(2023, 1, 31)


@pytest.mark.parametrize(
    "value",
    ["2023-02-30", "1999-12-31", "2100-01-01", 20230101, datetime(2023, 1, 1, tzinfo=UTC), date(1999, 1, 1)],
)
def test_what_is_no_day_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[date](Day).validate_python(value)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+12"])
def test_a_time_zone_of_the_database(zone: str) -> None:
    assert TypeAdapter[str](TimeZone).validate_python(zone) == zone


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "Europe", "localtime", "../etc/passwd", "+02:00", "Europe/../UTC", ""]
)
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[str](TimeZone).validate_python(zone)
