"""Preview: what becomes of the messages of a file is what the consumer decides of them, one by one."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.contract import Contract
from fleetmeter_api.region import Region
from fleetmeter_cli.preview_input import region_setting
from fleetmeter_cli.tally import Place
from fleetmeter_cli.trial import Device, Trial
from fleetmeter_rules.contracts import Version
from fleetmeter_rules.instant import to_micros
from fleetmeter_rules.ownership import Binding
from fleetmeter_wire.record import Headers, encode_headers
from fleetmeter_workers.consumer.knowledge import Knowledge
from fleetmeter_workers.consumer.plan import draw
from fleetmeter_workers.consumer.record import Record, read
from fleetmeter_workers.consumer.settle import Fate, Settled, compare, firsts, judge
from fleetmeter_workers.ledger.backfills import Backfill
from fleetmeter_workers.ledger.contract_book import ContractBook, PeriodTerms
from fleetmeter_workers.ledger.events import KnownEvent
from fleetmeter_workers.ledger.periods import ContractPeriod
from fleetmeter_workers.ledger.registry import Device as Registered

START, EVER = datetime(2026, 1, 1, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
HOUR = timedelta(hours=1)
OWNERS = {
    "kept": (Binding("acme", EVER, None, 1),),
    "sold": (Binding("acme", EVER, None, 2), Binding("beta", START + 800 * HOUR, None, 3)),
    "frame": (Binding("acme", EVER, None, 4),),
}
CLASSES = {"kept": "default", "sold": "default", "frame": "lorawan", "unknown": "default"}
CUSTOMERS = {"acme": 1, "beta": 2}
COUNTS = ("billed", "duplicate", "quarantined", "late")
HISTORY = Backfill("b", START - 9000 * HOUR, START + 90_000 * HOUR, "pending", None, None, None)


def region(policy: str, grace_hours: int) -> Region:
    """Four months whose contracts say nothing of their own."""
    spec = {
        "jurisdiction": "EU",
        "calendar": {"firstPeriod": "2026-01-01", "lastPeriod": "2026-04-01", "timeZone": "Europe/Paris"},
        "lateUsage": {"policy": policy, "gracePeriodSeconds": grace_hours * 3600},
        "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
        "deviceClasses": [
            {"name": "default", "maxOfflineSeconds": 180 * 86_400},
            {"name": "lorawan", "identityMethods": ["Lorawan"], "maxOfflineSeconds": 180 * 86_400},
        ],
        "retention": {"queueHours": 20_000},
        "invoicing": {"sellerSecretName": "seller", "series": "EU"},
        "broker": {"type": "Embedded"},
        "store": {"type": "Embedded"},
    }
    return Region.model_validate({"name": "eu", "spec": spec})


def contract(customer: str) -> Version:
    document = {
        "contract": f"c-{customer}",
        "customer": {"code": customer, "name": customer, "address": ["1 High Street"]},
        "plan": "fleet",
        "validFrom": "2020-01-01",
    }
    return Version(1, START, Contract.model_validate(document))


class Line:
    """A consumer that decides each message as it is received, while every close runs at its cut-off; it keeps
    of a ledger what decisions need."""

    def __init__(self, of: Region) -> None:
        devices = {
            uid: Registered(number, uid, uid, name, uid in OWNERS, OWNERS.get(uid, ()))
            for number, (uid, name) in enumerate(CLASSES.items())
        }
        book = ContractBook(of, {f"c-{code}": (contract(code),) for code in CUSTOMERS})
        self.known = Knowledge(of, 0, {"messages": 1}, book, {"b": HISTORY}, CUSTOMERS, devices)
        self.stored: dict[bytes, KnownEvent] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def take(self, raw: bytes, received_at: datetime) -> Settled:
        """What becomes of the message."""
        stamp = to_micros(received_at)
        headers = Headers("json", "mqtt", "t", stamp, "uplink/json", backfill="b", stated=stamp)
        record = Record(0, 0, 0, received_at, tuple(encode_headers(headers)), raw)
        plan = draw([read(record)], self.known)
        rows = {p.key: self._row(p, received_at) for p in plan.periods}
        verdicts = [judge(candidate, rows) for candidate in plan.candidates]
        added = {row.key for row in firsts(verdicts)} - self.stored.keys()
        (settled,) = compare(verdicts, added, self.stored, CUSTOMERS)
        for row in firsts(verdicts):
            self.stored.setdefault(row.key, KnownEvent(row.fingerprint, row.period_id, settled.customer_id))
        self._count(settled)
        return settled

    def _row(self, period: PeriodTerms, now: datetime) -> ContractPeriod:
        place = (period.customer, f"{period.bounds.first_day:%Y-%m}")
        return ContractPeriod(
            self.numbers.setdefault(place, len(self.numbers)), period.contract, period.customer,
            period.billing_period, period.bounds.start, period.bounds.end, period.cut_off, period.late_usage,
            "final" if period.cut_off <= now else "open", 1, None,
        )  # fmt: skip

    def place(self, period_id: int | None) -> tuple[str, str] | None:
        """The customer and month of a period."""
        return next((place for place, number in self.numbers.items() if number == period_id), None)

    def _count(self, settled: Settled) -> None:
        place = self.place(settled.period_id)
        if place is not None:
            self.counts[*place, settled.fate.value] += 1
            self.counts[*place, "late"] += settled.verdict.late and settled.fate is not Fate.DUPLICATE


@st.composite
def deliveries(draw_: st.DrawFn) -> list[tuple[bytes, datetime]]:
    """Messages in the order they were received, many about the months' edges, with copies and conflicts."""
    hours = st.sampled_from([-30, 1, 700, 743, 744, 790, 820, 1400, 1416, 2160, 2900])
    delays = st.sampled_from([0, 1, 20, 71, 72, 73, 90, 700, 1500])
    one = st.tuples(st.sampled_from(list(CLASSES)), st.integers(0, 4), hours, delays, st.integers(1, 2))
    found: list[tuple[bytes, datetime]] = []
    for device, sequence, hour, delay, quantity in draw_(st.lists(one, min_size=1, max_size=25)):
        happened, received = START + hour * HOUR, START + (hour + delay) * HOUR
        message = {
            "device": device,
            "epoch": "1",
            "seq": sequence,
            "eventAt": happened.isoformat(),
            "sentAt": received.isoformat(),
            "items": [{"metric": "messages", "quantity": quantity}],
        }
        found.append((json.dumps(message).encode(), received))
    return sorted(found, key=lambda sent: sent[1])


@pytest.mark.parametrize("policy", ["Grace", "Defer", "Reopen"])
@given(sent=deliveries(), grace_hours=st.sampled_from([0, 72]))
def test_a_preview_decides_what_the_line_decides(
    policy: str, sent: list[tuple[bytes, datetime]], grace_hours: int
) -> None:
    of = region(policy, grace_hours)
    registry = {uid: Device(CLASSES[uid], owners) for uid, owners in OWNERS.items()}
    line, trial = Line(of), Trial(replace(region_setting(of.spec), registry=registry))
    for raw, received_at in sent:
        settled, decision = line.take(raw, received_at), trial.take("json", raw, to_micros(received_at))
        verdict = settled.verdict
        assert (decision.verdict, decision.reason) == (settled.fate.value, settled.reason)
        assert decision.late == verdict.late
        place = line.place(settled.period_id)
        if place is not None:
            assert (decision.customer, decision.period) == place
        if settled.fate is Fate.BILLED:
            month = None if decision.belongs_to is None else (decision.customer, decision.belongs_to)
            assert month == line.place(verdict.belongs_to)
            assert decision.revision == verdict.revision
    for customer, period in {(customer, period) for customer, period, _ in line.counts}:
        tally = trial.tallies[Place(customer, "messages", period)]
        found = (tally.events, tally.duplicates, tally.quarantined.total(), tally.late)
        assert found == tuple(line.counts[customer, period, name] for name in COUNTS)
