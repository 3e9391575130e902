"""Record: headers there and back, and headers that no gateway writes."""

import pytest

from fleetmeter_wire.record import HeaderError, Headers, decode_headers, encode_headers

PLAIN = Headers("helium", "mqtt", "ingest", 1672867882661000, "uplink/helium/x")
FULL = Headers("json", "http", "Jürgen 100%", -1, "/v1/uplink/json", "20230101-20231001", 7, "too_large")


@pytest.mark.parametrize("headers", [PLAIN, FULL])
def test_there_and_back(headers: Headers) -> None:
    pairs = encode_headers(headers)
    assert all(value.isascii() and b"\n" not in value for _, value in pairs)
    assert decode_headers(pairs) == headers
    assert decode_headers([(name, value.decode()) for name, value in pairs]) == headers


def test_the_names_and_the_order_stay() -> None:
    assert [(name, value) for name, value in encode_headers(PLAIN)] == [
        ("v", b"1"),
        ("adapter", b"helium"),
        ("entry", b"mqtt"),
        ("principal", b"ingest"),
        ("received", b"1672867882661000"),
        ("topic", b"uplink/helium/x"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": b"2"}, "newer gateway"),
        ({"v": None}, "empty"),
        ({"adapter": ...}, "adapter is missing"),
        ({"entry": b"coap"}, "mqtt or http"),
        ({"received": b"1.5"}, "whole microseconds"),
        ({"received": b"9" * 30}, "whole microseconds"),
        ({"received": "٤".encode()}, "not ASCII"),
        ({"stated": b""}, "whole microseconds"),
        ({"topic": b"\xff"}, "not ASCII"),
        ({"topic": b"%ff"}, "not ASCII"),
    ],
)
def test_headers_that_no_gateway_writes(change: dict[str, object], message: str) -> None:
    pairs = {**dict(encode_headers(PLAIN)), **change}
    given = [(name, value) for name, value in pairs.items() if value is not ...]
    with pytest.raises(HeaderError, match=message):
        decode_headers(given)  # pyright: ignore[reportArgumentType]  wrong on purpose


def test_twice_and_nothing() -> None:
    with pytest.raises(HeaderError, match="twice"):
        decode_headers([*encode_headers(PLAIN), ("adapter", b"json")])
    with pytest.raises(HeaderError, match="v must be 1"):
        decode_headers(None)
