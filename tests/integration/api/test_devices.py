"""The registry: filled by lines, each taken or refused by itself."""

import hashlib
import json


def _lines(*devices: dict[str, object]) -> str:
    return "\n".join(json.dumps(device) for device in devices)


def _register(api, *devices: dict[str, object]) -> dict[str, object]:
    answer = api.post("/v1/devices", _lines(*devices))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_devices_are_registered_once_and_listed(api) -> None:
    door = {"uid": "d1d1e80000000032", "customer": "acme", "alias": "hut-door"}
    plain = {"uid": "04b1c1", "customer": "acme", "validFrom": "2023-01-01T00:00:00+01:00"}
    first = _register(api, door, plain)
    assert first == {"lines": 2, "devices": 2, "bindings": 2, "refused": 0, "refusedLines": []}
    again = _register(api, door, plain)
    assert again == {"lines": 2, "devices": 0, "bindings": 0, "refused": 0, "refusedLines": []}
    default = "device-" + hashlib.sha256(b"04b1c1").hexdigest()[:8]
    assert api.get("/v1/devices", role="operator").json()["devices"] == [
        {
            "uid": "04b1c1",
            "alias": default,
            "deviceClass": "default",
            "owners": [{"customer": "acme", "validFrom": "2022-12-31T23:00:00Z", "validTo": None}],
        },
        {
            "uid": "d1d1e80000000032",
            "alias": "hut-door",
            "deviceClass": "default",
            "owners": [{"customer": "acme", "validFrom": None, "validTo": None}],
        },
    ]
    with api.ledger() as connection:
        actors = connection.execute("SELECT DISTINCT recorded_by FROM fleetmeter.device_binding").fetchall()
    assert actors == [("operator-name",)]


def test_a_new_owner_is_appended(api) -> None:
    _register(api, {"uid": "a", "customer": "acme"})
    moved = _register(api, {"uid": "a", "customer": "beta", "validFrom": "2023-06-01T00:00:00Z"})
    assert (moved["devices"], moved["bindings"]) == (0, 1)
    owners = api.get("/v1/devices", role="operator").json()["devices"][0]["owners"]
    assert [owner["customer"] for owner in owners] == ["acme", "beta"]


def test_bad_lines_are_named_and_stop_no_other(api) -> None:
    _register(api, {"uid": "known", "customer": "acme", "alias": "door"})
    body = "\n".join(
        [
            _lines({"uid": "good-1", "customer": "acme"}),
            "{not json",
            _lines({"uid": "no-customer"}),
            "",
            _lines({"uid": "x", "customer": "acme", "colour": "red"}),
            _lines({"uid": "y", "customer": "acme", "deviceClass": "fancy"}),
            _lines({"uid": "z", "customer": "acme", "validFrom": "2023-01-01T00:00:00"}),
            _lines({"uid": "w", "customer": "acme", "alias": "door"}),
            _lines({"uid": "v", "customer": "acme", "alias": "d1d1e80000000032"}),
            _lines({"uid": "known", "customer": "acme", "alias": "other-name"}),
            _lines(
                {
                    "uid": "u",
                    "customer": "a",
                    "validFrom": "2023-02-01T00:00:00Z",
                    "validTo": "2023-01-01T00:00:00Z",
                }
            ),
            _lines({"uid": "good-2", "customer": "acme"}),
        ]
    )
    answer = api.post("/v1/devices", body).json()
    assert [each["line"] for each in answer["refusedLines"]] == [2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert answer["refused"] == 9
    assert (answer["lines"], answer["devices"], answer["bindings"]) == (11, 2, 2)
    assert all(each["reason"] for each in answer["refusedLines"])
    uids = [each["uid"] for each in api.get("/v1/devices", role="operator").json()["devices"]]
    assert uids == ["good-1", "good-2", "known"]


def test_devices_are_paged(api) -> None:
    _register(api, *({"uid": f"dev-{number:04}", "customer": "acme"} for number in range(25)))
    seen: list[str] = []
    after = ""
    while True:
        page = api.get("/v1/devices", role="operator", limit="10", after=after).json()
        seen += [each["uid"] for each in page["devices"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == [f"dev-{number:04}" for number in range(25)]


def test_a_body_that_is_too_large_is_refused(api) -> None:
    answer = api.post("/v1/devices", "\n" * (32 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert api.post("/v1/backfills/x/complete", "body").status_code == 413
