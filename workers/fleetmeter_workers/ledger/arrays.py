"""Columns of a batch as Postgres arrays in binary form: many rows in one statement."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from typing import ClassVar, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

_NULL: Final = b"\xff\xff\xff\xff"
_HEADER: Final = Struct(">iiIii").pack
_EMPTY_HEADER: Final = Struct(">iiI").pack
_LENGTH: Final = Struct(">i").pack
_INT2: Final = Struct(">ih").pack
_INT4: Final = Struct(">ii").pack
_INT8: Final = Struct(">iq").pack
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UUID_HEAD: Final = b"\x00\x00\x00\x10"
_TRUE: Final = b"\x00\x00\x00\x01\x01"
_FALSE: Final = b"\x00\x00\x00\x01\x00"


class _Array:
    """An encoded array; a subclass a type, since psycopg chooses the type by the Python class."""

    __slots__ = ("data",)
    element_oid: ClassVar[int]

    def __init__(self, elements: Iterable[bytes], count: int) -> None:
        if count == 0:
            self.data = _EMPTY_HEADER(0, 0, self.element_oid)
        else:
            self.data = _HEADER(1, 1, self.element_oid, count, 1) + b"".join(elements)


class _ArrayDumper(Dumper):
    """Hands the encoded bytes to Postgres as they are."""

    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer | None:
        """The bytes."""
        return obj.data


def _array_type(name: str) -> type[_Array]:
    """A class for arrays of the named type, known to psycopg from here on."""
    info = psycopg.adapters.types[name]
    made = type(f"{name.title()}Array", (_Array,), {"element_oid": info.oid, "__slots__": ()})
    dumper = type(f"{name.title()}ArrayDumper", (_ArrayDumper,), {"oid": info.array_oid})
    psycopg.adapters.register_dumper(made, dumper)
    return made


_Uuids = _array_type("uuid")
_Instants = _array_type("timestamptz")
_Integers = _array_type("int4")
_Smallints = _array_type("int2")
_Booleans = _array_type("bool")
_Numerics = _array_type("numeric")
_ByteStrings = _array_type("bytea")
_decimal = psycopg.adapters.get_dumper(Decimal, PyFormat.BINARY)(Decimal)


@lru_cache(maxsize=16_384)
def number(value: Decimal) -> bytes:
    """A decimal behind its length, in Postgres' binary form."""
    data = bytes(_decimal.dump(value) or b"")
    return _LENGTH(len(data)) + data


def micros(value: datetime) -> int:
    """An aware datetime as microseconds since 2000, as Postgres counts."""
    since = value - _POSTGRES_EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Arrays:
    """One constructor a column type; None becomes NULL."""

    @staticmethod
    def uuids(values: Sequence[bytes]) -> _Array:
        """16 bytes each."""
        return _Uuids((_UUID_HEAD + value for value in values), len(values))

    @staticmethod
    def instants(values: Sequence[datetime | None]) -> _Array:
        """Aware datetimes, to the microsecond."""
        return _Instants(
            (_NULL if value is None else _INT8(8, micros(value)) for value in values), len(values)
        )

    @staticmethod
    def integers(values: Sequence[int | None]) -> _Array:
        """Four bytes each."""
        return _Integers((_NULL if value is None else _INT4(4, value) for value in values), len(values))

    @staticmethod
    def smallints(values: Sequence[int | None]) -> _Array:
        """Two bytes each."""
        return _Smallints((_NULL if value is None else _INT2(2, value) for value in values), len(values))

    @staticmethod
    def booleans(values: Sequence[bool]) -> _Array:
        """True or false."""
        return _Booleans((_TRUE if value else _FALSE for value in values), len(values))

    @staticmethod
    def numerics(values: Sequence[Decimal | None]) -> _Array:
        """Exact decimals."""
        return _Numerics((_NULL if value is None else number(value) for value in values), len(values))

    @staticmethod
    def byte_strings(values: Sequence[bytes | None]) -> _Array:
        """Any bytes."""
        return _ByteStrings(
            (_NULL if value is None else _LENGTH(len(value)) + value for value in values), len(values)
        )
