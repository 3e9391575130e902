"""Late usage by contract on real engines: deferred, amended, set aside, written off."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from .late_line import LateLine


def test_deferred_usage_is_an_adjustment_that_names_its_month(late: LateLine) -> None:
    """What came after January's cut-off stands on the invoice of the month in which it came, at January's
    tiers; the rows of every invoice stay those that it was drawn up from."""
    line = late.line
    late.start("Defer")
    late.load()
    assert late.close(1) == ["final: 1 invoices written, 0 verified"]
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.send("meter-2", range(2), "2023-02-10", "2023-02-20")
    late.send("meter-2", range(2, 4), "2023-01-20", "2023-03-20")
    late.load()
    assert late.close(1, 2, 3) == [
        "final: 0 invoices written, 1 verified",
        "final: 1 invoices written, 0 verified",
        "final: 1 invoices written, 0 verified",
    ]
    january, february, march = line.invoices()
    assert (january["total"], january["adjustments"]) == ("0.50", [])
    (entry,) = february["adjustments"]
    assert {name: entry[name] for name in ("billingPeriod", "contract", "invoice", "charge", "quantity")} == {
        "billingPeriod": "eu-202301",
        "contract": "c-1",
        "invoice": january["number"],
        "charge": "usage",
        "quantity": "3",
    }
    assert (entry["bookedQuantity"], entry["bookedAmount"], entry["amount"]) == ("5", "0.50", "0.16")
    assert (february["subtotal"], february["total"], february["events"]) == ("0.20", "0.36", 5)
    (entry,) = march["adjustments"]
    assert (entry["bookedQuantity"], entry["bookedAmount"], entry["amount"]) == ("8", "0.66", "0.06")
    assert (march["subtotal"], march["total"]) == ("0.00", "0.06")
    assert [share["device"] for share in entry["byDevice"]] == [
        line.value("SELECT alias FROM device WHERE uid = 'meter-2'")
    ]
    assert late.belonging() == {"eu-202301": Decimal(10), "eu-202302": Decimal(2), "eu-202303": Decimal(0)}
    late.load()
    assert late.close(1, 2, 3) == ["final: 0 invoices written, 1 verified"] * 3
    assert sum(each["events"] for each in line.invoices()) == line.value(
        "SELECT count(*) FROM billing_events"
    )


def test_a_following_contract_bills_what_the_ended_one_left(late: LateLine) -> None:
    """Usage of an ended contract that comes late stands on the customer's next contract's invoice, at the old
    prices; in another currency it cannot, and the close says so."""
    line = late.line
    late.start("Defer", validTo="2023-02-01")
    line.plans += [line.plan("second"), line.plan("third", currency="USD")]
    line.sign(
        line.contract(
            "c-2", "acme", lateUsage="Defer", plan="second", validFrom="2023-02-01", validTo="2023-03-01"
        ),
        line.contract("c-3", "acme", lateUsage="Defer", plan="third", validFrom="2023-03-01"),
    )
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.send("meter-1", [8], "2023-01-20", "2023-03-20")
    late.load()
    assert late.close(1, 2) == ["final: 1 invoices written, 0 verified"] * 2
    february = line.invoices()[-1]
    assert (february["contract"], february["total"]) == ("c-2", "0.16")
    assert [each["contract"] for each in february["adjustments"]] == ["c-1"]
    status, message = line.close_period("eu-202303")
    assert (status, "priced in EUR and cannot stand on an invoice of eu-202303 in USD" in message) == (
        65,
        True,
    )


def test_a_reopened_period_gets_amended_invoices(late: LateLine) -> None:
    """Late usage waits for the cut-off of the month in which it came; then its own month is rated again, the
    old lines are credited, and the invoice before stays as it was."""
    line = late.line
    late.start("Reopen")
    late.load()
    assert late.close(1) == ["final: 1 invoices written, 0 verified"]
    first = line.rows("SELECT * FROM invoice")
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.send("meter-2", range(2), "2023-02-10", "2023-02-20")
    late.send("meter-2", range(2, 4), "2023-01-20", "2023-03-20")
    late.load()
    assert late.close(1, 2, 1) == [
        "final: 0 invoices written, 2 amended, 1 verified",
        "final: 1 invoices written, 0 verified",
        "final: 0 invoices written, 1 verified",
    ]
    original, second, third, february = line.invoices()
    assert [each["number"] for each in line.invoices()] == [f"EU-{n:06d}" for n in range(1, 5)]
    assert "amends" not in original
    assert (second["version"], second["revision"], second["issueDate"]) == (2, 2, "2023-03-04")
    assert second["amends"] == {
        "number": "EU-000001",
        "version": 1,
        "issueDate": "2023-02-04",
        "amount": "0.50",
    }
    assert (second["lines"][0]["quantity"], second["subtotal"], second["total"]) == ("8", "0.66", "0.16")
    assert (third["version"], third["revision"], third["issueDate"]) == (3, 3, "2023-04-04")
    assert (third["amends"]["number"], third["amends"]["amount"]) == ("EU-000002", "0.66")
    assert (third["subtotal"], third["total"]) == ("0.72", "0.06")
    assert (february["total"], february["adjustments"]) == ("0.20", [])
    assert line.rows("SELECT * FROM invoice WHERE number = 'EU-000001'") == first
    billed = sum(Decimal(each["total"]) for each in line.invoices() if each["period"] == original["period"])
    owed = sum(Decimal(each["total"]) for each in (original, second, third))
    assert (billed, owed) == (Decimal("0.50"), Decimal("0.72"))
    assert line.rows("SELECT revision, phase FROM contract_period ORDER BY starts_at") == [
        (3, "final"),
        (1, "final"),
    ]


def test_an_amendment_waits_for_its_cut_off(late: LateLine) -> None:
    """What came after the cut-off is no part of the first invoice, even if it was there before the close ran;
    what comes today waits for the present month's cut-off; a second delivery of it is a duplicate."""
    line = late.line
    line.region["spec"]["calendar"] = {"firstPeriod": "2023-01-01"}
    late.start("Reopen")
    age = datetime.now(UTC) - line.instant("2023-01-20T12:00:00+00:00")
    message = {"device": "meter-2", "epoch": "1", "seq": 9, "uptime": 0}
    line.send(json.dumps(message | {"sentUptime": age // timedelta(milliseconds=1)}).encode())
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.load()
    assert late.close(1) == ["final: 1 invoices written, 1 amended, 0 verified"]
    assert [each["events"] for each in line.invoices()] == [5, 8]
    assert line.value("SELECT count(*) FROM event WHERE verdict = 0") == 9
    before = line.rows("SELECT * FROM invoice ORDER BY number")
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.load()
    assert late.close(1) == ["final: 0 invoices written, 1 verified"]
    assert line.rows("SELECT * FROM invoice ORDER BY number") == before
    assert line.value("SELECT sum(duplicate)::int FROM partition_offset") == 3


def test_grace_sets_aside_and_a_contract_may_write_off(late: LateLine) -> None:
    """After the cut-off nothing is billed: what came is kept with its bytes and counted, open to a person or
    written off by the contract."""
    line = late.line
    line.sign(line.contract("c-2", "globex", lateUsage="Grace", lateAfterFinal="WriteOff"))
    line.register(("meter-9", "globex"))
    late.start("Grace")
    late.send("meter-9", range(3), "2023-01-10", "2023-01-10")
    late.load()
    assert late.close(1) == ["final: 2 invoices written, 0 verified"]
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.send("meter-9", range(3, 5), "2023-01-20", "2023-02-20")
    late.load()
    assert late.close(1, 2) == [
        "final: 0 invoices written, 2 verified",
        "final: 2 invoices written, 0 verified",
    ]
    assert [each["total"] for each in line.invoices()] == ["0.50", "0.30", "0.00", "0.00"]
    assert line.rows(
        "SELECT reason, resolution, resolved_by, count(*), bool_and(raw IS NOT NULL) FROM quarantine "
        "GROUP BY 1, 2, 3 ORDER BY 2"
    ) == [
        ("late_after_final", "written_off", "contract", 2, True),
        ("late_after_final", None, None, 3, True),
    ]
    assert line.rows(
        "SELECT contract, events, late, quarantined FROM period_count JOIN contract_period USING (period_id) "
        "ORDER BY contract"
    ) == [("c-1", 5, 3, 3), ("c-2", 3, 2, 2)]


def test_march_is_final_on_the_fourth_of_april(late: LateLine) -> None:
    """With 72 hours an event received at the last moment of 3 April counts in March, one at midnight of 4
    April, in the contract's zone, does not."""
    line = late.line
    line.region["spec"]["calendar"]["timeZone"] = "Europe/Paris"
    late.start("Grace")
    message = {"device": "meter-1", "epoch": "1", "eventAt": "2023-03-20T12:00:00Z"}
    for sequence, received in ((10, "2023-04-03T21:59:59.999999"), (11, "2023-04-03T22:00:00")):
        late.deliver(message | {"seq": sequence, "sentAt": f"{received}Z"}, f"{received}+00:00")
    late.load()
    late.close(1, 2, 3)
    march = line.invoices()[-1]
    assert (march["events"], march["issueDate"]) == (1, "2023-04-04")
    assert march["period"]["cutOff"] == "2023-04-03T22:00:00Z"
    assert line.reasons() == {"late_after_final": 1}
