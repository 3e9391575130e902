"""Invoice: lines add up exactly, devices add up to lines, any order is one document."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetmeter_api.contract import Customer, Seller
from fleetmeter_api.plan import PlanVersion
from fleetmeter_rules.calendar import Calendar, contract_period
from fleetmeter_rules.invoice import (
    Amends,
    DeviceUsage,
    Heading,
    Snapshot,
    canonical_bytes,
    document,
    draw_up,
)

MONTH = contract_period(datetime(2023, 1, 15, tzinfo=UTC), Calendar())
CURRENCIES = {"EUR": 2, "JPY": 0, "KWD": 3}


def heading(currency: str) -> Heading:
    return Heading(
        number="EU-000001",
        series="EU",
        region="eu",
        jurisdiction="EU",
        currency=currency,
        seller=Seller(name="S", address=("A",), tax_id="T", email="a@b.example"),
        customer=Customer(code="acme", name="Acme", address=("A",)),
        contract="C-1",
        plan="standard",
        plan_hash="00",
        billing_period="eu-202301",
        period=MONTH,
        time_zone="UTC",
        cut_off=MONTH.end + timedelta(hours=72),
        grace=timedelta(hours=72),
        late_usage="Grace",
    )


@st.composite
def charges(draw: st.DrawFn) -> dict[str, Any]:
    prices = st.integers(0, 10**6).map(lambda n: str(Decimal(n).scaleb(-5)))
    found: dict[str, Any] = {
        "metric": draw(st.sampled_from(["messages", "energy", "unused"])),
        "measure": draw(st.sampled_from(["Quantity", "ActiveDevices"])),
        "model": draw(st.sampled_from(["PerUnit", "Graduated", "Volume"])),
    }
    if found["model"] == "PerUnit":
        return {**found, "unitPrice": draw(prices)}
    tiers = [
        {"upTo": str(end), "unitPrice": draw(prices)}
        for end in sorted(draw(st.sets(st.integers(1, 50), max_size=3)))
    ]
    return {**found, "tiers": [*tiers, {"unitPrice": draw(prices), "flatFee": draw(prices)}]}


plans = st.lists(charges(), min_size=1, max_size=3).map(
    lambda found: PlanVersion.model_validate(
        {
            "version": "1",
            "effectiveFrom": "2023-01-01T00:00:00Z",
            "charges": [{"name": f"c{n}", **charge} for n, charge in enumerate(found)],
        }
    )
)


def used(alias: str, metric: str, quantity: Decimal, events: int) -> DeviceUsage:
    return DeviceUsage(alias, metric, quantity, events, MONTH.start, MONTH.start + timedelta(days=events))


usages = st.lists(
    st.builds(
        used,
        st.text("abé", min_size=1, max_size=2),
        st.sampled_from(["messages", "energy"]),
        st.decimals(0, 40, places=3),
        st.integers(1, 20),
    ),
    unique_by=lambda usage: (usage.alias, usage.metric),
    max_size=8,
)


@given(plans, usages, st.sampled_from(sorted(CURRENCIES)), st.randoms(use_true_random=False))
def test_the_invoice_adds_up_and_is_one_document(
    plan: PlanVersion, usage: list[DeviceUsage], currency: str, shuffler: Random
) -> None:
    snapshot = Snapshot(sum(entry.events for entry in usage), "sha256:00")
    invoice = draw_up(heading(currency), plan, {"messages": "message"}, usage, snapshot)
    found = document(invoice)
    assert sum(Fraction(line["amount"]) for line in found["lines"]) == Fraction(found["total"])
    for line in found["lines"]:
        assert abs(Fraction(line["amount"]) - Fraction(line["exact"])) <= Fraction(
            1, 2 * 10 ** CURRENCIES[currency]
        )
        assert sum(Fraction(tier["amount"]) for tier in line["tiers"]) == Fraction(line["exact"])
        shares = line["byDevice"]
        if shares:
            assert sum(Fraction(share["amount"]) for share in shares) == Fraction(line["amount"])
        own = [entry for entry in usage if entry.metric == line["metric"]]
        assert (
            line["events"] == sum(entry.events for entry in own) == sum(share["events"] for share in shares)
        )
        assert line["devices"] == len(shares) == len({entry.alias for entry in own})
        counted = (
            line["devices"] if line["measure"] == "ActiveDevices" else sum(Fraction(e.quantity) for e in own)
        )
        assert Fraction(line["quantity"]) == counted
    shuffler.shuffle(usage)
    again = draw_up(heading(currency), plan, {"messages": "message"}, usage, snapshot)
    assert canonical_bytes(again) == canonical_bytes(invoice)


@given(plans, st.lists(usages, min_size=1, max_size=4), st.sampled_from(sorted(CURRENCIES)))
def test_an_invoice_and_its_amendments_ask_for_one_invoice_of_everything(
    plan: PlanVersion, slices: list[list[DeviceUsage]], currency: str
) -> None:
    """Each version rates all usage so far again and credits the lines of the one before; so the totals add up
    to the last version's lines, whatever the slices and their order."""
    for order in (slices, slices[::-1]):
        head, totals = heading(currency), Fraction(0)
        everything: list[DeviceUsage] = []
        for number, part in enumerate(order, start=1):
            everything = merged([*everything, *part])
            snapshot = Snapshot(sum(entry.events for entry in everything), "sha256:00")
            invoice = draw_up(head, plan, {}, everything, snapshot)
            totals += Fraction(invoice.total)
            amends = Amends(head.number, number, invoice.issue_date, invoice.subtotal)
            head = replace(head, version=number + 1, revision=number + 1, amends=amends)
        whole = merged([entry for part in slices for entry in part])
        snapshot = Snapshot(sum(entry.events for entry in whole), "sha256:00")
        assert totals == Fraction(draw_up(heading(currency), plan, {}, whole, snapshot).total)


def merged(entries: list[DeviceUsage]) -> list[DeviceUsage]:
    found: dict[tuple[str, str], DeviceUsage] = {}
    for each in entries:
        known = found.get((each.alias, each.metric))
        found[each.alias, each.metric] = (
            each
            if known is None
            else replace(known, quantity=known.quantity + each.quantity, events=known.events + each.events)
        )
    return list(found.values())
