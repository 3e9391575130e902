"""Late usage by chance: however late, in whatever batches, every month ends in the price of all its usage."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest

from fleetmeter_api.contract import Contract, Seller
from fleetmeter_api.plan import PlanDocument
from fleetmeter_api.region import Region
from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.pricing import price
from fleetmeter_rules.rounding import round_amount
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.close.seal import Book, amend, seal
from fleetmeter_workers.consumer import lookup
from fleetmeter_workers.consumer.plan import draw, uids
from fleetmeter_workers.consumer.record import Record, read
from fleetmeter_workers.consumer.write import Topic, Writer
from fleetmeter_workers.ledger import contracts, invoices, offsets, periods, registry, reopenings
from fleetmeter_workers.ledger.contract_book import ContractBook
from fleetmeter_workers.ledger.database import Connection, connect

START, DAY = datetime(2023, 1, 1, tzinfo=UTC), timedelta(days=1)
TOPIC = Topic("usage", UUID(int=7))
REGION = Region.model_validate(
    {
        "name": "eu",
        "spec": {
            "jurisdiction": "EU",
            "calendar": {"firstPeriod": "2023-01-01", "lastPeriod": "2023-10-01"},
            "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
            "invoicing": {"sellerSecretName": "seller", "series": "EU"},
            "broker": {"type": "Embedded"},
            "store": {"type": "Embedded"},
        },
    }
)
PLAN = PlanDocument.model_validate(
    {
        "name": "fleet",
        "spec": {
            "currency": "EUR",
            "versions": [
                {
                    "version": "1",
                    "effectiveFrom": "2020-01-01T00:00:00Z",
                    "charges": [
                        {
                            "name": "graduated",
                            "metric": "messages",
                            "model": "Graduated",
                            "tiers": [{"upTo": "20", "unitPrice": "0.333"}, {"unitPrice": "0.0125"}],
                        },
                        {
                            "name": "volume",
                            "metric": "messages",
                            "model": "Volume",
                            "tiers": [{"upTo": "30", "unitPrice": "0.5"}, {"unitPrice": "0.3"}],
                        },
                        {
                            "name": "devices",
                            "metric": "messages",
                            "measure": "ActiveDevices",
                            "model": "PerUnit",
                            "unitPrice": "1.255",
                        },
                    ],
                }
            ],
        },
    }
)


def history(chance: Random) -> list[Record]:
    """Events of four months in the order in which Kafka took them, some hours, some months after they
    happened; one in five comes twice."""
    sent: list[tuple[datetime, dict[str, Any]]] = []
    for sequence in range(120):
        happened = START + chance.random() * 120 * DAY
        delay = chance.choice((0.1, 0.1, 20.0, 120.0)) * chance.random() * DAY
        message = {
            "device": f"meter-{chance.randint(1, 4)}",
            "epoch": "1",
            "seq": sequence,
            "items": [{"metric": "messages", "quantity": str(chance.randint(0, 40) / Decimal(8))}],
        }
        for again in range(1 + (chance.random() < 0.2)):
            received = happened + delay + again * DAY * chance.random() * 30
            age = (received - happened) // timedelta(milliseconds=1)
            sent.append((received, message | {"uptime": 0, "sentUptime": age}))
    found: list[Record] = []
    for offset, (received, message) in enumerate(sorted(sent, key=lambda pair: pair[0])):
        headers = Headers("json", "mqtt", "t", to_micros(received), "uplink/json")
        found.append(
            Record(0, offset, 0, received, tuple(encode_headers(headers)), json.dumps(message).encode())
        )
    return found


class Region2023:
    """A consumer and a closer of one ledger, in this process, with a clock of their own."""

    def __init__(self, connection: Connection, policy: str) -> None:
        contract = Contract.model_validate(
            {
                "contract": "c-1",
                "customer": {"code": "acme", "name": "Acme", "address": ["1 High Street"]},
                "plan": "fleet",
                "validFrom": "2020-01-01",
                "lateUsage": policy,
                "anchorDay": 15,
            }
        )
        contracts.add_versions(connection, [contract])
        registry.register(
            connection, [registry.Registration(f"meter-{n}", "acme") for n in range(1, 5)], "test"
        )
        offsets.claim_partition(connection, TOPIC.name, 0, TOPIC.topic_id, 0)
        self.connection = connection
        self.known = lookup.load(connection, REGION)
        self.writer = Writer(connection, TOPIC)
        seller = Seller(name="S", address=("A",), tax_id="1", email="a@b.example")
        book = ContractBook(REGION, contracts.all_versions(connection))
        self.book = Book(REGION, book, {"fleet": PLAN}, seller)

    def consume(self, records: Sequence[Record], size: int) -> None:
        """Decide the records in batches of this size."""
        for start in range(0, len(records), size):
            messages = [read(record) for record in records[start : start + size]]
            lookup.learn_devices(self.connection, self.known, uids(messages))
            self.writer.write(draw(messages, self.known), self.known)

    def close(self, now: datetime) -> None:
        """What closes do by then: oldest first, the month and then its amendments."""
        for month in range(1, 11):
            wanted = self.book.contracts.periods_of("c-1", f"eu-2023{month:02d}", now)
            with self.connection.transaction():
                customers = registry.find_customers(self.connection, ["acme"])
                periods.ensure(self.connection, wanted, customers)
            for row in periods.find(self.connection, (terms.key for terms in wanted)).values():
                if row.cutoff_at <= now:
                    seal(self.connection, self.book, row.period_id)
                while (due := reopenings.next_of(self.connection, row.period_id)) and due.due_at <= now:
                    amend(self.connection, self.book, due)

    def documents(self) -> list[bytes]:
        """Every invoice, to the byte."""
        found = [invoices.document(self.connection, row.number) for row in invoices.listed(self.connection)]
        return [document for document in found if document is not None]


@pytest.fixture
def ledgers(database: Any) -> Iterator[Any]:
    """Fresh ledgers, as many as a test asks for."""
    made: list[tuple[Connection, str]] = []

    def fresh() -> Connection:
        name = f"{database.name}_{len(made)}"
        with psycopg.connect(database.server.dsn(), autocommit=True) as session:
            session.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database.name}"'.encode())
        connection = connect("test", database.server.dsn(name))
        made.append((connection, name))
        return connection

    yield fresh
    for connection, name in made:
        connection.close()
        database.server.drop_database(name)


def lived_through(region: Region2023, records: Sequence[Record], lag: timedelta, size: int) -> None:
    """The year goes by: closes at each cut-off, by when the consumer has read everything from before it and,
    by chance, what came within the lag after it."""
    done = 0
    for month in range(2, 13):
        now = datetime(2023, month, 18, tzinfo=UTC)
        ready = sum(1 for record in records if record.log_time < now + lag)
        region.consume(records[done:ready], size)
        done = max(done, ready)
        region.close(now)


@pytest.mark.parametrize("policy", ["Defer", "Reopen"])
@pytest.mark.parametrize("seed", range(3))
def test_every_month_ends_in_the_price_of_all_its_usage(ledgers: Any, policy: str, seed: int) -> None:
    """Lines, adjustments and amendments of a month add up to one rating of all that happened in it; batches
    and a consumer that runs ahead of the closes change no byte of any invoice."""
    records = history(Random(seed))
    region, ahead = Region2023(ledgers(), policy), Region2023(ledgers(), policy)
    lived_through(region, records, timedelta(0), 50)
    lived_through(ahead, records, timedelta(days=9), 7)
    assert region.documents() == ahead.documents()
    billed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    asked = Decimal(0)
    for document in map(json.loads, region.documents()):
        asked += Decimal(document["total"])
        for line in document["lines"]:
            place = (document["period"]["start"], line["charge"])
            # An amended invoice's lines replace those of the version before.
            billed[place] = Decimal(line["amount"])
        for entry in document["adjustments"]:
            billed[entry["start"], entry["charge"]] += Decimal(entry["amount"])
    rows = region.connection.execute(
        "SELECT own.starts_at, sum(event.quantity), count(DISTINCT event.device_id) FROM fleetmeter.event "
        "LEFT JOIN fleetmeter.late_usage AS late USING (event_key) "
        "JOIN fleetmeter.contract_period AS own ON own.period_id = coalesce(late.period_id, event.period_id) "
        "WHERE verdict = 0 GROUP BY 1"
    ).fetchall()
    assert len(rows) >= 4
    for starts_at, quantity, devices in rows:
        for charge in PLAN.spec.versions[0].charges:
            count = Decimal(devices) if charge.measure == "ActiveDevices" else quantity
            wanted = round_amount(price(charge, count).exact, "EUR")
            assert billed[f"{starts_at:%Y-%m-%dT%H:%M:%SZ}", charge.name] == wanted
    assert asked == sum(billed.values())
    numbers = [json.loads(document)["number"] for document in region.documents()]
    assert numbers == [f"EU-{number:06d}" for number in range(1, len(numbers) + 1)]
    late = region.connection.execute("SELECT count(*) FROM fleetmeter.event WHERE revision <> 1").fetchone()
    assert late is not None
    assert late[0] > 10
