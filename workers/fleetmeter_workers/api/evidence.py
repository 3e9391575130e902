"""Evidence: what a set-aside row says, whose it was, and which contract period it would be billed in."""

from dataclasses import dataclass
from datetime import datetime

from fleetmeter_api.region import DEFAULT_CLASS, DeviceClass, Region
from fleetmeter_rules.event_time import Ambiguous, resolve_event_time, rules_of
from fleetmeter_rules.instant import from_micros
from fleetmeter_rules.ownership import owner_at
from fleetmeter_rules.time_evidence import NOT_RECORDED, TimeEvidence, pack, readable
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import Decoded, Item, NotBillable
from fleetmeter_wire.record import HeaderError, Headers, decode_headers, request_key
from fleetmeter_workers.ledger import contracts, registry
from fleetmeter_workers.ledger.contract_book import ContractBook, Match
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.quarantine import Kept
from fleetmeter_workers.ledger.registry import Device


@dataclass(frozen=True, slots=True)
class Candidate:
    """When it may have happened, who owned the device then, and the contract period of that instant; by what
    the registry and the contracts say now."""

    event_at: datetime
    customer: str | None
    match: Match | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row as it is understood now. `content` and `item` are None where nothing can be read from its bytes,
    `why` says why; `is_certain` says that there is one candidate, and no doubt about it: then `time` is how
    far that can be trusted."""

    kept: Kept
    content: Decoded | None
    why: str
    item: Item | None
    device: Device | None
    candidates: tuple[Candidate, ...]
    is_certain: bool
    time: TimeEvidence

    @property
    def mark(self) -> str:
        """What tells its entry from the one of the event whose identity it has: nothing where it is that
        event, its fingerprint where it is another one."""
        return f":{self.item.fingerprint.hex()}" if self.kept.conflicts and self.item is not None else ""


def read(connection: Connection, region: Region, kept: Kept) -> Evidence:
    """The evidence of a row, by the registry and contracts of now."""
    content, why = _content(kept)
    item = None
    if content is not None and 0 <= kept.item < len(content.items):
        item = content.items[kept.item]
    device = None
    if content is not None:
        device = registry.find_devices(connection, [content.device]).get(content.device)
    instants, number = _instants(kept, content, device, region)
    candidates = tuple(_candidate(connection, region, device, instant) for instant in instants)
    is_certain, time = number is not None, readable(number or NOT_RECORDED)
    return Evidence(kept, content, why, item, device, candidates, is_certain, time)


def candidate_at(connection: Connection, region: Region, evidence: Evidence, instant: datetime) -> Candidate:
    """The candidate of an instant that a person names."""
    return _candidate(connection, region, evidence.device, instant)


def _content(kept: Kept) -> tuple[Decoded | None, str]:
    if kept.raw is None:
        return None, "its bytes were not kept"
    headers = _headers(kept)
    found = decode(kept.adapter, kept.raw, None if headers is None else request_key(headers))
    if isinstance(found, Decoded):
        return found, ""
    return None, found.detail if isinstance(found, NotBillable) else f"{found.reason}: {found.detail}"


def _instants(
    kept: Kept, content: Decoded | None, device: Device | None, region: Region
) -> tuple[tuple[datetime, ...], int | None]:
    """When it happened, as it was decided or, for another one's identity, as the same rule decides now; and
    the evidence of it, None where it is not certain."""
    if not kept.conflicts and kept.identity is not None and kept.identity.event_at is not None:
        return (kept.identity.event_at,), kept.identity.evidence
    if content is None:
        return (), None
    name = device.device_class if device is not None else DEFAULT_CLASS
    known = region.spec.device_class(name) or region.spec.device_class(DEFAULT_CLASS)
    rules = rules_of(known or DeviceClass(name=DEFAULT_CLASS))
    resolved = resolve_event_time(content.time, kept.received_at, rules, _gateway_at(kept))
    if isinstance(resolved, Ambiguous):
        return resolved.candidates, None
    return (resolved.at,), pack(resolved)


def _gateway_at(kept: Kept) -> datetime | None:
    """The gateway's clock; in a backfill it says nothing about the device's."""
    headers = _headers(kept)
    if headers is None or headers.backfill is not None:
        return None
    return from_micros(headers.received)


def _headers(kept: Kept) -> Headers | None:
    try:
        return decode_headers(tuple((name, value.encode()) for name, value in kept.headers.items()))
    except HeaderError:
        return None


def _candidate(connection: Connection, region: Region, device: Device | None, instant: datetime) -> Candidate:
    customer = owner_at(device.bindings, instant) if device is not None else None
    if customer is None:
        return Candidate(instant, None, None)
    book = ContractBook(region, contracts.of_customers(connection, [customer]))
    now = connection.execute("SELECT clock_timestamp()").fetchone()
    return Candidate(instant, customer, book.match(customer, instant, now[0]) if now else None)
