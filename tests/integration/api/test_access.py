"""Who may ask for what, and what the API says of itself."""

import re

ROUTES = (
    ("GET", "/v1/invoices", "reader"),
    ("GET", "/v1/invoices/EU-000001", "reader"),
    ("GET", "/v1/invoices/EU-000001/page", "reader"),
    ("GET", "/v1/usage", "reader"),
    ("GET", "/v1/quarantine", "reader"),
    ("GET", "/v1/quarantine/x", "operator"),
    ("POST", "/v1/quarantine/x/resolve", "operator"),
    ("POST", "/v1/quarantine/resolve", "operator"),
    ("GET", "/v1/contracts", "reader"),
    ("GET", "/v1/backfills", "reader"),
    ("GET", "/v1/reviews", "reader"),
    ("POST", "/v1/reviews/accept", "operator"),
    ("POST", "/v1/reviews/move", "operator"),
    ("POST", "/v1/reviews/undo", "operator"),
    ("GET", "/v1/completeness", "reader"),
    ("POST", "/v1/completeness/accept", "operator"),
    ("GET", "/v1/replays", "reader"),
    ("GET", "/v1/replays/x", "reader"),
    ("POST", "/v1/replays", "operator"),
    ("GET", "/v1/devices", "operator"),
    ("POST", "/v1/devices", "operator"),
    ("POST", "/v1/backfills/x/complete", "operator"),
    ("POST", "/v1/backfills/x/revert", "operator"),
)
RANKS = {"ingest": 0, "backfill": 0, "reader": 1, "operator": 2, "admin": 3}


def test_every_route_asks_for_a_token_and_its_role(idle_api) -> None:
    for method, path, least in ROUTES:
        ask = idle_api.get if method == "GET" else idle_api.post
        for role in (None, "unknown"):
            refused = ask(path, role=role)
            assert refused.status_code == 401, (path, role)
            assert set(refused.json()) == {"error", "remedy"}
            assert refused.headers["www-authenticate"] == "Bearer"
        for role, rank in RANKS.items():
            answer = ask(path, role=role)
            assert (answer.status_code == 403) == (rank < RANKS[least]), (method, path, role, answer.text)
            assert answer.status_code != 401


def test_status_is_on_its_own_port_alone(idle_api) -> None:
    assert idle_api.get("/status").status_code == 404
    assert idle_api.status()["region"] == "eu"


def test_what_is_not_there_is_told_with_a_remedy(idle_api) -> None:
    for answer, status in (
        (idle_api.get("/v1/nothing"), 404),
        (idle_api.get("/v1/invoices/EU-999999"), 404),
        (idle_api.post("/v1/invoices", role="admin"), 405),
        (idle_api.post("/v1/backfills/20200101-20200201/complete"), 404),
        (idle_api.get("/v1/invoices", limit="0"), 400),
        (idle_api.get("/v1/invoices", limit="many"), 400),
        (idle_api.get("/v1/quarantine", after="-1"), 400),
        (idle_api.get("/v1/usage", by="hour"), 400),
        (idle_api.get("/v1/replays/1"), 404),
        (idle_api.post("/v1/replays", "{"), 400),
        (idle_api.post("/v1/replays", "{}"), 400),
        (idle_api.post("/v1/replays", '{"fromOffset": 0, "since": "2023-01-01T00:00:00Z"}'), 400),
        (idle_api.post("/v1/replays", '{"since": "2023-01-01T00:00:00"}'), 400),
        (idle_api.post("/v1/replays", '{"fromOffset": -1}'), 400),
        (idle_api.post("/v1/replays", '{"fromOffset": 0, "partition": 4}'), 404),
        (idle_api.post("/v1/replays", '{"billingPeriod": "eu-202212"}'), 404),
        (idle_api.post("/v1/replays", '{"fromOffset": 0}'), 409),
    ):
        assert answer.status_code == status, answer.text
        body = answer.json()
        assert set(body) == {"error", "remedy"}
        assert body["error"]
        assert body["remedy"].endswith(".")


def test_the_description_names_exactly_the_routes(idle_api) -> None:
    answer = idle_api.get("/openapi.json", role=None)
    described = answer.json()
    named = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    served = {
        (method, re.sub("/x(?=/|$)", "/{id}", re.sub("EU-000001", "{number}", path)))
        for method, path, _ in ROUTES
    }
    assert named == served | {("GET", "/openapi.json"), ("GET", "/status")}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith(".")
            names = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
            assert names == re.findall(r"{(\w+)}", path)
    for reference in re.findall(r'"#/components/schemas/(\w+)"', answer.text):
        assert reference in described["components"]["schemas"]


def test_answers_have_the_described_fields(idle_api) -> None:
    described = idle_api.get("/openapi.json", role=None).json()
    paths = ("/v1/usage", "/v1/quarantine", "/v1/contracts", "/v1/backfills", "/v1/invoices", "/v1/replays")
    for path in paths:
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        fields = described["components"]["schemas"][name]["properties"]
        assert set(idle_api.get(path).json()) == set(fields), path
