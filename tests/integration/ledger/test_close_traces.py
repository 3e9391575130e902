"""Nine months of the real traces closed, oldest first: invoices from real rows, and the same again."""

from decimal import Decimal
from typing import Any

MONTHS = [f"eu-2023{month:02d}" for month in range(1, 10)]


def test_nine_months_close(line: Any) -> None:
    """Each contract gets an invoice a month; numbers are gapless; amounts are frames times the price."""
    line.set_up_traces()
    line.send_traces()
    line.drain()
    status, message = line.close_period(MONTHS[0])
    assert (status, message.split(":")[0]) == (75, "BackfillPending"), message
    line.complete_backfill()
    for month in MONTHS:
        status, message = line.close_period(month)
        assert (status, message) == (0, "final: 2 invoices written, 0 verified\n")
    invoices = line.invoices()
    assert [each["number"] for each in invoices] == [f"EU-{n:06d}" for n in range(1, 19)]
    counted = dict(
        line.rows(
            "SELECT contract || billing_period, events FROM period_count JOIN contract_period USING "
            "(period_id)"
        )
    )
    for each in invoices:
        frames = counted.get(each["contract"] + each["period"]["billingPeriod"], 0)
        assert each["events"] == frames
        assert Decimal(each["total"]) == Decimal(frames) / 100
        (charge,) = each["lines"]
        assert sum(Decimal(share["amount"]) for share in charge["byDevice"]) == Decimal(charge["amount"])
    assert sum(each["events"] for each in invoices) == line.value(
        "SELECT count(*) FROM event WHERE verdict = 0"
    )
    assert line.value("SELECT count(*) FROM contract_period WHERE phase <> 'final'") == 0


def test_closing_twice_verifies(line: Any) -> None:
    """A second run writes nothing; a changed row of a final period is found."""
    line.sign(line.contract("c-1", "acme"))
    line.register(("meter-1", "acme"))
    line.send_events("meter-1", range(5), stated=line.instant("2023-01-10T12:00:00Z"))
    line.drain()
    line.complete_backfill()
    assert line.close_period("eu-202301")[0] == 0
    before = line.rows("SELECT * FROM invoice")
    assert line.close_period("eu-202301") == (0, "final: 0 invoices written, 1 verified\n")
    assert line.rows("SELECT * FROM invoice") == before
    line.ledger.execute("ALTER TABLE event DISABLE TRIGGER only_grows")
    line.ledger.execute(
        "UPDATE event SET quantity = 2 WHERE event_key = (SELECT max(event_key::text) FROM event)::uuid"
    )
    status, message = line.close_period("eu-202301")
    assert status == 65
    assert "not those invoiced" in message
