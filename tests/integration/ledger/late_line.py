"""Late usage as the tests of the close send it: history in loads, and people who resolve what is aside."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg

from fleetmeter_api.region import Region
from fleetmeter_rules.instant import to_micros
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.api.resolution import Order, Wish, resolve
from fleetmeter_workers.ledger import backfills, registry, usage


class LateLine:
    """A line that takes history as it came. A load ends with its close; the next one is another backfill."""

    def __init__(self, line: Any) -> None:
        """Devices may be offline for half a year."""
        self.line = line
        self.loads = 0
        line.region["spec"]["deviceClasses"] = [{"name": "default", "maxOfflineSeconds": 180 * 86_400}]
        line.region["spec"]["retention"] = {"queueHours": 20_000}

    def start(self, policy: str, **contract: Any) -> None:
        """A customer with this policy, two tiers, and two devices, of which one sends five messages in
        January."""
        tiers = [{"upTo": "6", "unitPrice": "0.10"}, {"unitPrice": "0.03"}]
        self.line.plans = [self.line.plan(model="Graduated", tiers=tiers)]
        del self.line.plans[0]["spec"]["versions"][0]["charges"][0]["unitPrice"]
        self.line.sign(self.line.contract("c-1", "acme", lateUsage=policy, **contract))
        self.line.register(("meter-1", "acme"), ("meter-2", "acme"))
        self.send("meter-1", range(5), "2023-01-10", "2023-01-10")

    def send(
        self, device: str, sequences: Iterable[int], happened: str, received: str, quantity: int = 1
    ) -> None:
        """Events of one day, received on another; both at noon."""
        for sequence in sequences:
            message: dict[str, Any] = {
                "device": device,
                "epoch": "1",
                "seq": sequence,
                "eventAt": f"{happened}T12:00:00Z",
                "sentAt": f"{received}T12:00:00Z",
                "items": [{"metric": "messages", "quantity": quantity}],
            }
            self.deliver(message, f"{received}T12:00:00+00:00")

    def deliver(self, message: dict[str, Any], received: str) -> None:
        """One message as history that was received then."""
        written = Headers(
            adapter="json",
            entry="mqtt",
            principal="test",
            received=to_micros(datetime.now(UTC)),
            topic="uplink/json",
            backfill=f"20230101-202310{self.loads + 1:02d}",
            stated=to_micros(self.line.instant(received)),
        )
        self.line.send(json.dumps(message).encode(), headers=encode_headers(written))

    def load(self) -> None:
        """Have everything decided that was sent, and end the load."""
        last = f"{self.loads + 1:02d}"
        self.line.region["spec"]["backfill"] = {
            "from": "2023-01-01T00:00:00Z",
            "to": f"2023-10-{last}T00:00:00Z",
        }
        self.line.drain()
        ends = dict(self.line.rows("SELECT partition, next_offset FROM partition_offset"))
        load = f"20230101-202310{last}"
        assert backfills.decide(self.line.ledger, load, "completed", ends, "test") is not None
        self.loads += 1

    def close(self, *months: int) -> list[str]:
        """Close these months of 2023; the last word of each Job."""
        found: list[str] = []
        for month in months:
            status, message = self.line.close_period(f"eu-2023{month:02d}")
            assert status == 0, message
            found.append(message.strip())
        return found

    def own(self, device: str, *owners: tuple[str, datetime | None, datetime | None]) -> None:
        """Register the device with these owners, each from then to then."""
        wishes = [
            registry.Registration(device, customer, valid_from=since, valid_to=until)
            for customer, since, until in owners
        ]
        registry.register(self.line.ledger, wishes, "test")

    def resolve(self, number: int, wish: Wish, **more: Any) -> str | None:
        """Resolve a row as the API does, with no more rights than it has."""
        region = Region.model_validate(self.line.region)
        with psycopg.connect(
            self.line.database.dsn("api"), autocommit=True, options="-c timezone=UTC"
        ) as connection:
            return resolve(connection, region, number, Order(wish, "ann", **more)).resolution

    def aside(self, reason: str) -> list[int]:
        """The rows of that reason, in the order they came."""
        found = self.line.rows("SELECT quarantine_id FROM quarantine WHERE reason = %s ORDER BY 1", reason)
        return [number for (number,) in found]

    def belonging(self) -> dict[str, Decimal]:
        """What belongs to each month, wherever it is billed."""
        held = self.line.rows("SELECT billing_period, period_id FROM contract_period")
        return {name: usage.belonging(self.line.ledger, number, "messages") for name, number in held}

    def adds_up(self) -> bool:
        """Whether roll-ups, counters, the public view and the invoices hold the same events."""
        counts = self.line.rows(
            "SELECT (SELECT sum(events) FROM usage_hour), (SELECT sum(events) FROM period_count), "
            "(SELECT count(*) FROM billing_events)"
        )
        sums = self.line.rows(
            "SELECT (SELECT sum(quantity) FROM usage_hour), (SELECT sum(quantity) FROM billing_events)"
        )
        return len(set(counts[0])) == 1 and len(set(sums[0])) == 1
