"""The books: what the ledger and the invoices say after a storm, against what really happened."""

import hashlib
import json
from collections import Counter
from typing import Any, Final

from .line import Sending
from .truth import PRICE, Truth

_SUMS: Final = """
SELECT
    (SELECT count(*) FROM event WHERE verdict = 0) = (SELECT sum(billed) FROM partition_offset),
    (SELECT coalesce(sum(events), 0) FROM usage_hour) = (SELECT sum(billed) FROM partition_offset),
    (SELECT coalesce(sum(events), 0) FROM period_count) = (SELECT sum(billed) FROM partition_offset),
    (SELECT count(*) FROM quarantine) = (SELECT sum(quarantined + undecodable) FROM partition_offset),
    (SELECT sum(records) FROM partition_offset) = (SELECT sum(next_offset) FROM partition_offset),
    (SELECT bool_and(records = decoded + not_billable + undecodable
                     AND items = billed + duplicate + quarantined) FROM partition_offset)
"""
_NAMES: Final = ("rows", "hours", "periods", "aside", "offsets", "conservation")
_SHOWN: Final = 5


class Books:
    """Every event once, in its month, its customer's; everything else set aside with its reason and bytes."""

    def __init__(self, ledger: Any, truth: Truth, sending: Sending) -> None:
        """`truth`: what happened; `sending`: what was put into the topic of it."""
        self._ledger = ledger
        self._truth = truth
        self._sending = sending

    def wrong(self) -> list[str]:
        """Sentences about what is not as it must be."""
        return [*self._sums(), *self._events(), *self._quarantine(), *self._invoices()]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._ledger.execute(query.encode()).fetchall()

    def _sums(self) -> list[str]:
        held = dict(zip(_NAMES, self._rows(_SUMS)[0], strict=True))
        wrong = [f"sums: {name} differ" for name, holds in held.items() if not holds]
        records = self._rows("SELECT sum(records)::int FROM partition_offset")[0][0]
        if records != self._sending.records:
            wrong.append(f"{self._sending.records} records were sent, {records} were decided")
        duplicates = self._rows("SELECT sum(duplicate)::int FROM partition_offset")[0][0]
        if duplicates != self._sending.copies:
            wrong.append(f"{self._sending.copies} copies were sent, {duplicates} were counted")
        by_hour = self._rows("SELECT coalesce(sum(duplicates), 0)::int FROM duplicate_hour")[0][0]
        if by_hour != self._sending.copies - self._sending.nobodys:
            wrong.append(f"the customers' copies by hour are {by_hour}")
        return wrong

    def _events(self) -> list[str]:
        found = {
            row[0]: (row[1], row[2])
            for row in self._rows("SELECT event_id, customer_id, billing_period_id FROM billing_events")
        }
        rows = self._rows("SELECT count(*) FROM billing_events")[0][0]
        true = self._truth.billed
        wrong = [] if rows == len(found) else [f"{rows - len(found)} events are billed twice"]
        wrong += _listed("lost", true.keys() - found.keys())
        wrong += _listed("invented", found.keys() - true.keys())
        wrong += _listed(
            "in a wrong month or a wrong customer's",
            {name for name in found if found[name] != true.get(name)},
        )
        return wrong

    def _quarantine(self) -> list[str]:
        rows = self._rows("SELECT reason, raw, detail FROM quarantine")
        late = sum(1 for reason, _, _ in rows if reason == "late_after_final")
        wrong = (
            []
            if late == len(self._truth.late)
            else [f"{len(self._truth.late)} are late, {late} set aside so"]
        )
        if any(not reason or not detail for reason, _, detail in rows):
            wrong.append("something is set aside without a reason")
        kept = Counter(
            bytes(raw) for reason, raw, _ in rows if reason != "late_after_final" and raw is not None
        )
        missing, more = self._sending.aside - kept, kept - self._sending.aside
        wrong += _listed("not set aside with their bytes", {raw[:80] for raw in missing})
        return wrong + _listed("set aside without need", {raw[:80] for raw in more})

    def _invoices(self) -> list[str]:
        wrong: list[str] = []
        rows = self._rows("SELECT number, document, sha256 FROM invoice ORDER BY number")
        for number, text, digest in rows:
            if hashlib.sha256(bytes(text)).digest() != bytes(digest):
                wrong.append(f"invoice {number} is not what its hash says")
        documents = [json.loads(bytes(text)) for _, text, _ in rows]
        if [number for number, _, _ in rows] != [f"EU-{n:06d}" for n in range(1, len(rows) + 1)]:
            wrong.append("the invoices' numbers have a gap")
        expected = {
            (customer, period): self._truth.invoiced(customer, period)
            for customer in self._truth.customers
            for period in ("eu-202303", "eu-202304")
        }
        found = Counter((each["customer"]["code"], each["period"]["billingPeriod"]) for each in documents)
        if set(found) != set(expected) or set(found.values()) != {1}:
            wrong.append(f"invoices: {sorted(found.items())}")
        for each in documents:
            events = expected.get((each["customer"]["code"], each["period"]["billingPeriod"]))
            (line,) = each["lines"]
            true = (events, f"{events}", f"{(events or 0) * PRICE:.2f}")
            if (each["events"], line["quantity"], each["total"]) != true:
                wrong.append(
                    f"invoice {each['number']}: {each['events']} events, {each['total']}, true {events}"
                )
        return wrong


def _listed(what: str, names: Any) -> list[str]:
    if not names:
        return []
    return [f"{len(names)} {what}, such as {sorted(names)[:_SHOWN]}"]
