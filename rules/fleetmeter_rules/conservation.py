"""Conservation: the law that the counters of a partition obey at every moment."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Counters:
    """What one partition, or a sum of them, has seen since its first record."""

    records: int = 0
    decoded: int = 0
    not_billable: int = 0
    undecodable: int = 0
    items: int = 0
    billed: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def violations(counters: Counters) -> list[str]:
    """Sentences that say which law is broken and by how much; empty where nothing was lost or invented.

    records = decoded + not billable + undecodable; items = billed + duplicate + quarantined; no count is
    negative.
    """
    found = [f"{f.name} is negative" for f in fields(counters) if getattr(counters, f.name) < 0]
    seen = counters.decoded + counters.not_billable + counters.undecodable
    if counters.records != seen:
        found.append(f"{counters.records} records, but {seen} decoded, not billable or undecodable")
    settled = counters.billed + counters.duplicate + counters.quarantined
    if counters.items != settled:
        found.append(f"{counters.items} items, but {settled} billed, duplicate or quarantined")
    return found
