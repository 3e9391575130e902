"""What was set aside and what people make of it, on real engines: billed next, taken back, given up."""

from typing import Any

import psycopg
import pytest

from fleetmeter_workers.api.refusal import RefusalError

from .late_line import LateLine


def test_what_was_set_aside_late_is_billed_next(late: LateLine) -> None:
    """A person bills rows that Grace set aside: as an adjustment of the customer's next invoice, once each,
    with the sums that belong to it."""
    late.start("Grace")
    late.load()
    assert late.close(1) == ["final: 1 invoices written, 0 verified"]
    late.send("meter-1", range(5, 8), "2023-01-20", "2023-02-20")
    late.send("meter-2", range(2), "2023-02-10", "2023-02-20")
    late.load()
    first, second, third = late.aside("late_after_final")
    assert late.resolve(first, "bill-next", note="agreed by phone") == "billed_next"
    with pytest.raises(RefusalError, match="was resolved as billed_next by ann at 20") as refused:
        late.resolve(first, "write-off")
    assert refused.value.status == 409
    assert late.adds_up()
    assert late.close(1, 2) == [
        "final: 0 invoices written, 1 verified",
        "final: 1 invoices written, 0 verified",
    ]
    assert late.resolve(second, "bill-next") == "billed_next"
    assert late.resolve(third, "write-off") == "written_off"
    assert late.adds_up()
    assert late.close(2, 3) == [
        "final: 0 invoices written, 1 verified",
        "final: 1 invoices written, 0 verified",
    ]
    _, february, march = late.line.invoices()
    found = [(each["billingPeriod"], each["quantity"], each["amount"]) for each in february["adjustments"]]
    assert (found, february["total"], february["events"]) == ([("eu-202301", "1", "0.10")], "0.30", 3)
    assert [(each["bookedQuantity"], each["amount"]) for each in march["adjustments"]] == [("6", "0.03")]
    assert late.line.rows(
        "SELECT resolution, resolved_by, note, resolved_at > recorded_at FROM quarantine ORDER BY 1"
    ) == [
        ("billed_next", "ann", "agreed by phone", True),
        ("billed_next", "ann", None, True),
        ("written_off", "ann", None, True),
    ]
    with pytest.raises(psycopg.errors.RestrictViolation):
        late.line.ledger.execute("UPDATE quarantine SET resolved_by = 'bob'")


def test_an_unknown_device_is_billed_to_its_owner_at_the_time(late: LateLine) -> None:
    """Once the device is registered its rows are billed to whoever had it then: in their own month while that
    is open, else as an adjustment."""
    line = late.line
    line.sign(line.contract("c-2", "globex"))
    late.start("Defer")
    late.send("found-1", range(2), "2023-01-12", "2023-01-12")
    late.send("found-1", range(2, 5), "2023-02-20", "2023-02-20")
    late.send("found-1", range(2, 3), "2023-02-20", "2023-02-20")
    late.load()
    rows = late.aside("unknown_device")
    assert len(rows) == 5
    with pytest.raises(RefusalError, match="not registered"):
        late.resolve(rows[0], "bill-next")
    sold = line.instant("2023-02-01T00:00:00+00:00")
    late.own("found-1", ("acme", None, sold), ("globex", sold, None))
    assert [late.resolve(number, "bill-next") for number in rows[:1]] == ["billed_next"]
    assert late.close(1) == ["final: 2 invoices written, 0 verified"]
    assert {late.resolve(number, "bill-next") for number in rows[1:]} == {"billed_next"}
    assert late.adds_up()
    assert late.close(1, 2) == [
        "final: 0 invoices written, 2 verified",
        "final: 2 invoices written, 0 verified",
    ]
    acme_1, globex_1, acme_2, globex_2 = line.invoices()
    assert (acme_1["total"], acme_1["lines"][0]["devices"], globex_1["total"]) == ("0.60", 2, "0.00")
    assert [each["amount"] for each in acme_2["adjustments"]] == ["0.03"]
    assert (globex_2["lines"][0]["quantity"], globex_2["total"], globex_2["adjustments"]) == ("3", "0.30", [])
    late.send("found-1", range(2), "2023-01-12", "2023-01-12")
    late.load()
    assert line.value("SELECT sum(duplicate)::int FROM partition_offset") == 1 + 2


def test_a_conflict_is_billed_beside_the_first_or_takes_it_back(late: LateLine) -> None:
    """Other content under an identity: the newcomer may be billed as well, or the first one be credited where
    it was wrong; each once, whatever how often it was sent."""
    late.start("Grace")
    late.send("meter-2", range(2), "2023-01-10", "2023-01-10", quantity=3)
    late.send("meter-1", [0, 0], "2023-01-11", "2023-01-11", quantity=2)
    late.send("meter-2", [0], "2023-01-11", "2023-01-11", quantity=1)
    late.load()
    newcomer, again, wrong = late.aside("id_conflict")
    assert late.resolve(newcomer, "bill-next") == "billed_next"
    with pytest.raises(RefusalError, match="same content is billed already"):
        late.resolve(again, "bill-next")
    assert late.resolve(again, "duplicate") == "duplicate"
    assert late.close(1) == ["final: 1 invoices written, 0 verified"]
    assert late.resolve(wrong, "credit") == "credited"
    assert late.adds_up()
    assert late.close(1, 2) == [
        "final: 0 invoices written, 1 verified",
        "final: 1 invoices written, 0 verified",
    ]
    january, february = late.line.invoices()
    assert (january["lines"][0]["quantity"], january["total"]) == ("13", "0.81")
    (taken,) = february["adjustments"]
    assert (taken["quantity"], taken["amount"], february["total"]) == ("-3", "-0.09", "-0.09")


def test_what_cannot_be_billed_says_why(late: LateLine) -> None:
    """Nothing readable, no time, no owner, no contract: 409 with the remedy, and the row stays open."""
    line = late.line
    late.start("Grace")
    line.sign(line.contract("c-2", "hooli", validFrom="2023-02-01"))
    line.register(("later-1", "hooli"), ("bare-1", "nobody"))
    line.send(b"{broken", stated=None)
    late.send("later-1", [1], "2023-01-12", "2023-01-12")
    late.send("bare-1", [1], "2023-01-12", "2023-01-12")
    late.deliver(
        {"device": "meter-1", "epoch": "1", "seq": 90, "eventAt": "2029-01-01T00:00:00Z"},
        "2023-01-13T12:00:00+00:00",
    )
    late.load()
    (broken,), (one, other), (doubtful,) = (
        late.aside(reason) for reason in ("unparseable", "no_contract", "time_ambiguous")
    )
    for number, why in (
        (broken, "nothing to bill"),
        (one, "no contract at 2023"),
        (other, "no contract at 20"),
    ):
        with pytest.raises(RefusalError, match=why):
            late.resolve(number, "bill-next")
    with pytest.raises(RefusalError, match="nothing to take back"):
        late.resolve(one, "credit")
    with pytest.raises(RefusalError, match="nobody knows when"):
        late.resolve(doubtful, "bill-next")
    with pytest.raises(RefusalError) as missing:
        late.resolve(10_000, "write-off")
    assert missing.value.status == 404
    assert line.value("SELECT count(*) FROM quarantine WHERE resolution IS NOT NULL") == 0
    at = line.instant("2023-01-13T11:00:00+00:00")
    assert late.resolve(doubtful, "bill-next", event_at=at) == "billed_next"
    assert late.close(1) == ["final: 1 invoices written, 0 verified"]
    assert line.invoices()[0]["events"] == 6


@pytest.mark.parametrize(("policy", "contract"), [("Grace", {"validTo": "2023-02-01"}), ("Reopen", {})])
def test_a_person_amends_the_last_month_and_a_reopened_one(
    late: LateLine, policy: str, contract: dict[str, Any]
) -> None:
    """Where no period follows, or the contract reopens, what a person bills or takes back stands on an
    amended invoice of its own month, at the next cut-off."""
    line = late.line
    late.start(policy, **contract)
    late.send("meter-1", [0], "2023-01-11", "2023-01-11", quantity=4)
    late.send("found-1", range(3), "2023-01-20", "2023-01-20")
    late.load()
    assert late.close(1) == ["final: 1 invoices written, 0 verified"]
    (conflict,), rows = late.aside("id_conflict"), late.aside("unknown_device")
    late.own("found-1", ("acme", None, None))
    assert {late.resolve(number, "bill-next") for number in rows} == {"billed_next"}
    assert late.resolve(conflict, "credit") == "credited"
    assert late.adds_up()
    assert late.close(1) == ["final: 0 invoices written, 1 verified"]
    assert line.value("SELECT due_at > now() FROM reopening")
    line.ledger.execute("ALTER TABLE reopening DISABLE TRIGGER only_grows")
    line.ledger.execute("UPDATE reopening SET due_at = '2023-03-04'")
    assert late.close(1) == ["final: 0 invoices written, 1 amended, 1 verified"]
    first, amended = line.invoices()
    assert (first["total"], amended["subtotal"], amended["total"]) == ("0.50", "0.63", "0.13")
    assert (amended["lines"][0]["quantity"], amended["amends"]["number"]) == ("7", first["number"])
    assert late.close(1) == ["final: 0 invoices written, 1 verified"]
