"""Strict JSON: the quick reading and the careful one never differ, whatever the text holds twice or oddly."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_wire import strict_json
from fleetmeter_wire.message import MalformedError

NUMBERS = [
    *("0", "-0", "1", "-1", "1.0", "-0.0", "1e5", "1E+400", "0e0", "1.5e-7", "01", "1.", ".5", "+1", "NaN"),
    *("-Infinity", "18446744073709551616", "9" * 63, "9" * 64, "9" * 65, "-" + "9" * 63, "-" + "9" * 64),
    *("0." + "1" * 61, "0." + "1" * 62, "0." + "1" * 63, "1e999999999999999999"),
]
STRINGS = [
    *('"a"', '"b"', '""', '"a:b"', '"{[,]}"', '"\\""', '"a\\u0062"', '"\\ud800"', '"é"', '"a\tb"', '"\x7f"'),
    *('"' + "7" * 70 + '"', '"\\', '"a', "'a'"),
]
NAMES = ['"a"', '"b"', '"a"', '""', '"\\u0061"', '"é"']
spaces = st.sampled_from(["", "", "", " ", "\n", "\t ", "\x0c"])


def _list(parts: list[tuple[str, str]]) -> str:
    return "[" + ",".join(space + text for space, text in parts) + "]"


def _object(parts: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f"{name}{space}:{text}" for name, space, text in parts) + "}"


scalars = st.sampled_from([*NUMBERS, *STRINGS, "true", "false", "null", "nul"])
texts = st.recursive(
    scalars,
    lambda inner: (
        st.lists(st.tuples(spaces, inner), max_size=3).map(_list)
        | st.lists(st.tuples(st.sampled_from(NAMES), spaces, inner), max_size=4).map(_object)
    ),
    max_leaves=8,
)


def _typed(value: Any) -> Any:
    """The value with its types, so that 1, 1.0 and true differ."""
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return type(value), str(value) if isinstance(value, Decimal) else value


def _compare(raw: bytes) -> None:
    quick = strict_json._plain(raw)
    if quick is strict_json._DOUBTFUL:
        return
    try:
        careful = strict_json._judge(raw)
    except MalformedError as error:
        raise AssertionError(f"the quick reading took {raw!r}: {error.detail}") from None
    assert _typed(quick) == _typed(careful)


@given(spaces, texts, spaces)
def test_the_two_readings_agree(before: str, text: str, after: str) -> None:
    _compare((before + text + after).encode())


@given(texts, st.integers(0, 60), st.binary(max_size=2))
def test_they_agree_on_damage(text: str, at: int, noise: bytes) -> None:
    raw = text.encode()
    _compare(raw[:at] + noise + raw[at + len(noise) :])


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", '"x"', "null", "{}"])), max_size=5
    )
)
def test_a_name_given_twice_is_refused(pairs: list[tuple[str, str]]) -> None:
    """The quick reading takes exactly the objects whose names differ."""
    raw = ("{" + ",".join(f'"{name}":{text}' for name, text in pairs) + "}").encode()
    twice = len({name for name, _ in pairs}) < len(pairs)
    assert (strict_json._plain(raw) is strict_json._DOUBTFUL) == twice
