"""HTTP entrance: what a posted body is in Kafka, who may post, what is answered when it can't be kept."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from fleetmeter_cluster.progress import await_true
from fleetmeter_local.engines import Kafka
from fleetmeter_local.worker import Worker

from .conftest import TOKENS, Site

BACKFILL = "/v1/backfills/20230101-20231001/uplink/json"
LINES = "application/x-ndjson"


def post(
    gateway: Worker, path: str, body: bytes, *, role: str | None = "ingest", token: str = "", **headers: str
) -> httpx.Response:
    """Post a body with the token of a role."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if role is not None:
        sent["Authorization"] = f"Bearer {token or TOKENS[role]}"
    return httpx.post(f"{gateway.url}{path}", content=body, headers=sent, timeout=60, trust_env=False)


def refused(answer: httpx.Response) -> int:
    """The status of an answer that must say what is wrong and what to do."""
    said: dict[str, Any] = answer.json()
    assert set(said) == {"error", "remedy"}
    assert all(said.values())
    return answer.status_code


def test_a_body_is_a_message_and_lines_are_messages(site: Site) -> None:
    gateway = site.start_gateway()
    one = post(gateway, "/v1/uplink/json", b'{"device": "d",\n "id": 1}')
    assert (one.status_code, one.json()) == (202, {"accepted": 1})
    many = post(gateway, "/v1/uplink/json", b'{"id": 2}\n\n{"id": 3}\r\nno JSON\n', Content_Type=LINES)
    assert (many.status_code, many.json()) == (202, {"accepted": 3})
    records = {record.value: record.headers for record in site.topic.records(4)}
    assert set(records) == {b'{"device": "d",\n "id": 1}', b'{"id": 2}', b'{"id": 3}\r', b"no JSON"}
    headers = records[b"no JSON"]
    assert (headers.entry, headers.adapter, headers.principal) == ("http", "json", "test-ingest")
    assert (headers.topic, headers.backfill, headers.stated) == ("/v1/uplink/json", None, None)
    assert post(gateway, "/v1/uplink/json", b"\n", Content_Type=LINES).json() == {"accepted": 0}


def test_a_key_travels_with_each_message_of_its_request(site: Site) -> None:
    gateway = site.start_gateway()
    for attempt in range(2):
        post(gateway, "/v1/uplink/json", b"one", Idempotency_Key="k-1")
        lines = b"two" if attempt else b"two\nthree"
        post(gateway, "/v1/uplink/json", lines, Content_Type=LINES, Idempotency_Key="k-2")
    assert refused(post(gateway, "/v1/uplink/json", b"four", Idempotency_Key="k" * 201)) == 400
    found = [(record.value, record.headers.key) for record in site.topic.records(5)]
    assert sorted(found) == [
        (b"one", "k-1"),
        (b"one", "k-1"),
        (b"three", "k-2#2"),
        (b"two", "k-2#1"),
        (b"two", "k-2#1"),
    ]


def test_a_backfill_states_one_time_for_all_or_one_for_each(site: Site) -> None:
    gateway = site.start_gateway()
    for body, stated in ((b"a", "2023-01-01T00:00:00Z"), (b"b\nc", "1672531200000001"), (b"d\ne\nf", "1,,3")):
        answer = post(
            gateway, BACKFILL, body, role="backfill", Content_Type=LINES, Fleetmeter_Received=stated
        )
        assert answer.status_code == 202
    uneven = post(
        gateway, BACKFILL, b"g\nh\ni", role="backfill", Content_Type=LINES, Fleetmeter_Received="1,2"
    )
    assert refused(uneven) == 400
    records = {record.value: record.headers for record in site.topic.records(6)}
    assert {value: headers.stated for value, headers in records.items()} == {
        b"a": 1672531200000000,
        b"b": 1672531200000001,
        b"c": 1672531200000001,
        b"d": 1,
        b"e": None,
        b"f": 3,
    }
    assert {headers.backfill for headers in records.values()} == {"20230101-20231001"}


def test_only_a_known_token_of_the_right_role_may_post(site: Site) -> None:
    gateway = site.start_gateway()
    body = b'{"device": "d"}'
    assert refused(post(gateway, "/v1/uplink/json", body, role=None)) == 401
    assert refused(post(gateway, "/v1/uplink/json", body, token="unknown")) == 401
    assert refused(post(gateway, "/v1/uplink/json", body, role="backfill")) == 403
    assert refused(post(gateway, "/v1/uplink/json", body, role="reader")) == 403
    assert refused(post(gateway, BACKFILL, body, role="ingest")) == 403
    assert post(gateway, "/v1/uplink/json", body).status_code == 202
    assert len(site.topic.records(1)) == 1
    denied = gateway.metrics()
    assert denied['fleetmeter_gateway_denied_total{status="401"}'] == 2
    assert denied['fleetmeter_gateway_denied_total{status="403"}'] == 3


def test_a_changed_tokens_file_counts_without_a_restart(site: Site) -> None:
    gateway = site.start_gateway()
    site.write_tokens({"ingest": "rotated"})

    def status(token: str) -> int:
        return post(gateway, "/v1/uplink/json", b"{}", token=token).status_code

    await_true(lambda: status("rotated") == 202, "the new token to count")
    assert status(TOKENS["ingest"]) == 401
    site.tokens_file.write_text("tokens: nonsense")
    before = gateway.metrics()['fleetmeter_gateway_denied_total{status="401"}']
    await_true(
        lambda: status("unknown") == 401 and _looked_again(gateway, before), "the file to be read again"
    )
    assert status("rotated") == 202


def _looked_again(gateway: Worker, before: float) -> bool:
    """Whether enough requests have passed that the file was looked at (once in two seconds)."""
    return gateway.metrics()['fleetmeter_gateway_denied_total{status="401"}'] > before + 50


def test_too_large_is_said_and_kept(site: Site) -> None:
    gateway = site.start_gateway()
    large = b"x" * (256 * 1024 + 1)
    assert refused(post(gateway, "/v1/uplink/json", large)) == 413
    mixed = post(gateway, "/v1/uplink/json", b"{}\n" + large, Content_Type=LINES)
    assert (mixed.status_code, mixed.json()) == (202, {"accepted": 1, "refused": 1})
    records = site.topic.records(3)
    assert sorted((len(record.value), record.headers.refusal or "") for record in records) == [
        (2, ""),
        (4096, "too_large"),
        (4096, "too_large"),
    ]
    assert refused(post(gateway, "/v1/uplink/json", large * 33, Content_Type=LINES)) == 413


def test_other_paths_and_methods_say_where_to_go(site: Site) -> None:
    gateway = site.start_gateway()
    assert refused(post(gateway, "/v1/downlink/json", b"{}")) == 404
    assert refused(httpx.get(f"{gateway.url}/v1/uplink/json", trust_env=False)) == 405


def test_while_kafka_is_away_nothing_is_promised(
    site: Site, kafka: Kafka, kafka_paused: Callable[[], None]
) -> None:
    gateway = site.start_gateway()
    kafka_paused()
    await_true(lambda: not gateway.ready(), "the gateway to notice")
    answer = post(gateway, "/v1/uplink/json", b'{"id": 1}')
    assert refused(answer) == 503
    assert answer.headers["Retry-After"]
    kafka.process.resume()
    await_true(gateway.ready, "the gateway to be ready again")
    assert post(gateway, "/v1/uplink/json", b'{"id": 1}').status_code == 202
    assert [json.loads(record.value) for record in site.topic.records(1)] == [{"id": 1}]


def test_without_mqtt_it_is_a_gateway_too(site: Site) -> None:
    gateway = site.start_gateway(FLEETMETER_MQTT_HOST="")
    assert post(gateway, "/v1/uplink/json", b"{}").status_code == 202
    gateway.stop()
    assert gateway.process.await_end(seconds=1) == 0
