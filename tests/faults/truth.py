"""The truth of a simulated fleet: what is sent, who owns what, and where each event must be in the end."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fleetmeter_cli.fleet.fleet import MESSAGES, REGISTRY, TRUTH, Fleet
from fleetmeter_cli.fleet.profile import Profile
from fleetmeter_cli.trace import read_lines
from fleetmeter_rules.identity import event_id
from fleetmeter_rules.instant import from_micros
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import Decoded

FIRST: Final = date(2023, 3, 1)
LAST: Final = date(2023, 4, 1)
GRACE: Final = timedelta(hours=72)
PRICE: Final = Decimal("0.01")
_ENDS: Final = {"2023-03": datetime(2023, 4, 1, tzinfo=UTC), "2023-04": datetime(2023, 5, 1, tzinfo=UTC)}


@dataclass(frozen=True)
class Sent:
    """A message and when it is received, as the history states it. `device` is empty where it names none.

    `kind`: `first` of its identity, `copy` of that, `conflict` (the same identity with other content),
    `stranger` (well formed, of a device that nobody registered), `stranger copy` or `poison`.
    """

    raw: bytes
    received_at: datetime
    device: str
    kind: str


@dataclass
class Truth:
    """A fleet. `billed` and `late` are by event id: customer and billing period.

    `late`: what was received after the cut-off of its month, and must be set aside.
    """

    messages: list[Sent] = field(default_factory=list[Sent])
    registry: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    billed: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    late: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    @property
    def customers(self) -> list[str]:
        """Everybody who owns a device."""
        return sorted({entry["customer"] for entry in self.registry})

    def invoiced(self, customer: str, period: str) -> int:
        """How many events the customer's invoice for the period must have; each is a message at PRICE."""
        return sum(1 for where in self.billed.values() if where == (customer, period))


def simulated(seed: int, folder: Path, devices: int = 24, every_seconds: int = 5400) -> Truth:
    """A fleet over the end of March 2023, with copies, poison, outages, wrong clocks and stragglers."""
    profile = Profile(
        devices, 12, seed, start=date(2023, 3, 26), every_seconds=every_seconds, customers=6,
        retransmitted=0.05, poison=0.01, late=0.15, long_outages=0.0, replaced=0.1, sold=0.1,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for _ in Fleet(profile).write(folder):
        pass
    truth = Truth(registry=[json.loads(line) for line in (folder / REGISTRY).read_text().splitlines()])
    for line in (folder / TRUTH).read_text().splitlines():
        true = json.loads(line)
        if true["delivered"]:
            received_at = datetime.fromtimestamp(true["received"] / 1000, UTC)
            in_time = received_at < _ENDS[true["period"]] + GRACE
            period = "eu-" + true["period"].replace("-", "")
            (truth.billed if in_time else truth.late)[true["event_id"]] = (true["customer"], period)
    received_at = datetime.combine(profile.start, time(), UTC)
    seen: dict[str, bytes] = {}
    for line in read_lines(folder / MESSAGES, "_timestamp"):
        if line.received is not None:
            received_at = from_micros(line.received)
        device, kind = _kind(line.raw, truth, seen)
        truth.messages.append(Sent(line.raw, received_at, device, kind))
    return truth


def _kind(raw: bytes, truth: Truth, seen: dict[str, bytes]) -> tuple[str, str]:
    """Whose message it is and what; `seen` has the fingerprint of each identity's first."""
    found = decode("json", raw)
    if not isinstance(found, Decoded):
        return "", "poison"
    (item,) = found.items
    name = event_id(item.identity)
    if name not in truth.billed and name not in truth.late:
        known = seen.setdefault(name, item.fingerprint) is not item.fingerprint
        return found.device, "stranger copy" if known else "stranger"
    if name not in seen:
        seen[name] = item.fingerprint
        return found.device, "first"
    return found.device, "copy" if seen[name] == item.fingerprint else "conflict"
