"""The books themselves: right ones pass, and each kind of wrong one is told."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from .books import Books
from .line import Sending
from .truth import Truth

Tables = dict[str, list[tuple[Any, ...]]]


class Ledger:
    """Answers the books' queries by what they begin with."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def execute(self, query: bytes) -> Any:
        """The rows of the one table that the query is about."""
        (rows,) = [rows for start, rows in self._tables.items() if query.decode().strip().startswith(start)]
        return type("Rows", (), {"fetchall": lambda _: rows})()


def truth() -> Truth:
    """Two events of one customer, one in each month, and a late one."""
    return Truth(
        registry=[{"customer": "acme"}],
        billed={"a": ("acme", "eu-202303"), "b": ("acme", "eu-202304")},
        late={"c": ("acme", "eu-202303")},
    )


def sending() -> Sending:
    """Those three, a copy and poison."""
    return Sending(records=5, copies=1, aside=Counter({b"poison": 1}))


def invoice(number: str, period: str, events: int, customer: str = "acme") -> tuple[str, bytes, bytes]:
    """An invoice's row."""
    document = {
        "number": number,
        "customer": {"code": customer},
        "period": {"billingPeriod": period},
        "events": events,
        "total": f"{events / 100:.2f}",
        "lines": [{"quantity": str(events)}],
    }
    text = json.dumps(document).encode()
    return number, text, hashlib.sha256(text).digest()


def tables() -> Tables:
    """What a ledger says that is right."""
    return {
        "SELECT\n": [(True,) * 6],
        "SELECT sum(records)": [(5,)],
        "SELECT sum(duplicate)": [(1,)],
        "SELECT coalesce(sum(duplicates)": [(1,)],
        "SELECT event_id": [("a", "acme", "eu-202303"), ("b", "acme", "eu-202304")],
        "SELECT count(*) FROM billing_events": [(2,)],
        "SELECT reason": [("late_after_final", b"c", "late"), ("unparseable", b"poison", "no JSON")],
        "SELECT number": [invoice("EU-000001", "eu-202303", 1), invoice("EU-000002", "eu-202304", 1)],
    }


def test_right_books() -> None:
    assert Books(Ledger(tables()), truth(), sending()).wrong() == []


WRONG: dict[str, Callable[[Tables], object]] = {
    "sums": lambda t: t.update({"SELECT\n": [(True, False, True, True, True, True)]}),
    "records": lambda t: t.update({"SELECT sum(records)": [(4,)]}),
    "copies": lambda t: t.update({"SELECT sum(duplicate)": [(2,)]}),
    "copies by hour": lambda t: t.update({"SELECT coalesce(sum(duplicates)": [(0,)]}),
    "lost": lambda t: t["SELECT event_id"].pop(),
    "invented": lambda t: t["SELECT event_id"].append(("z", "acme", "eu-202303")),
    "wrong month": lambda t: t["SELECT event_id"].__setitem__(0, ("a", "acme", "eu-202304")),
    "wrong customer": lambda t: t["SELECT event_id"].__setitem__(0, ("a", "globex", "eu-202303")),
    "doubled": lambda t: t.update({"SELECT count(*) FROM billing_events": [(3,)]}),
    "late is billed": lambda t: t["SELECT reason"].pop(0),
    "poison is gone": lambda t: t["SELECT reason"].pop(),
    "poison lost a byte": lambda t: t["SELECT reason"].__setitem__(1, ("unparseable", b"poiso", "no JSON")),
    "no reason": lambda t: t["SELECT reason"].__setitem__(1, ("", b"poison", "no JSON")),
    "good is set aside": lambda t: t["SELECT reason"].append(("unparseable", b"a", "no JSON")),
    "an invoice is missing": lambda t: t["SELECT number"].pop(),
    "an invoice too many": lambda t: t["SELECT number"].append(invoice("EU-000003", "eu-202304", 1)),
    "a number is missing": lambda t: t["SELECT number"].__setitem__(1, invoice("EU-000003", "eu-202304", 1)),
    "an invoice of other events": lambda t: t["SELECT number"].__setitem__(
        0, invoice("EU-000001", "eu-202303", 2)
    ),
    "an invoice that was changed": lambda t: t["SELECT number"].__setitem__(
        0, (*invoice("EU-000001", "eu-202303", 1)[:2], b"")
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_books(name: str) -> None:
    found = tables()
    WRONG[name](found)
    assert Books(Ledger(found), truth(), sending()).wrong() != []
