"""Ownership: which customer holds a device when, and the lines of the registry that say so."""

import json
from dataclasses import dataclass

from fleetmeter_cli.fleet.chance import Chance, between
from fleetmeter_cli.fleet.instant import DAY, rfc3339


@dataclass(frozen=True, slots=True)
class Holding:
    """A customer holds the device for since <= t < until (None: no end), in milliseconds since 1970."""

    customer: str
    since: int
    until: int | None


def customer(count: int, source: Chance) -> str:
    """The code of one of the fleet's customers."""
    return f"customer-{between(source, 0, count) + 1:02d}"


def other_customer(count: int, code: str) -> str:
    """The next customer's code; the same where there is only one."""
    return f"customer-{int(code.removeprefix('customer-')) % count + 1:02d}"


def holdings(first: str, born: int, died: int | None, sold_at: int | None, buyer: str) -> tuple[Holding, ...]:
    """One customer for the device's life, or two where it is sold. It was installed a day before its first
    event, except as another one's replacement: `born` is exact then."""
    if sold_at is None:
        return (Holding(first, born, died),)
    return (Holding(first, born, sold_at), Holding(buyer, sold_at, died))


def registry_lines(uid: str, alias: str, device_class: str, held: tuple[Holding, ...]) -> str:
    """The device as `fleetmeter devices import` takes it, a line a customer."""
    lines: list[str] = []
    for holding in held:
        entry = {
            "uid": uid,
            "alias": alias,
            "customer": holding.customer,
            "deviceClass": device_class,
            "validFrom": rfc3339(holding.since),
            "validTo": None if holding.until is None else rfc3339(holding.until),
        }
        lines.append(json.dumps(entry) + "\n")
    return "".join(lines)


INSTALLED_BEFORE = 30 * DAY
"""How long before the simulation's start its devices were installed."""
