"""The registry: customers, metrics and devices by code, and which customer owns a device when."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fleetmeter_rules.device import device_uid, hardware_id
from fleetmeter_rules.ownership import Binding
from fleetmeter_workers.ledger.database import Connection

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ /-]{0,127}")
_SHORTEST_DIGEST: Final = 8


class RegistrationError(ValueError):
    """A registration that cannot be taken; the message says which field and what to do."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the ledger knows; `registered` is False for one that only messages have named so far."""

    device_id: int
    uid: str
    alias: str | None
    device_class: str
    registered: bool
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Registration:
    """A wish: this device, in this class, belongs to this customer from then (None: ever) to then."""

    uid: str
    customer: str
    alias: str | None = None
    device_class: str = "default"
    valid_from: datetime | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What a list of registrations changed: devices new to the registry, and bindings recorded."""

    devices: int
    bindings: int


def customer_ids(connection: Connection, codes: Iterable[str]) -> dict[str, int]:
    """The ids of these customers; those not yet known are added."""
    wanted = sorted(set(codes))
    connection.execute(
        "INSERT INTO fleetmeter.customer (code) SELECT code FROM unnest(%s::text[]) AS wanted (code) "
        "WHERE NOT EXISTS (SELECT FROM fleetmeter.customer WHERE customer.code = wanted.code) "
        "ON CONFLICT (code) DO NOTHING",
        (wanted,),
    )
    rows = connection.execute(
        "SELECT code, customer_id FROM fleetmeter.customer WHERE code = ANY(%s)", (wanted,)
    )
    return dict(rows.fetchall())


def find_customers(connection: Connection, codes: Iterable[str]) -> dict[str, int]:
    """The ids of these customers, as far as they are known."""
    rows = connection.execute(
        "SELECT code, customer_id FROM fleetmeter.customer WHERE code = ANY(%s)", (sorted(set(codes)),)
    )
    return dict(rows.fetchall())


def metric_ids(connection: Connection, metrics: Sequence[tuple[str, str, str]]) -> dict[str, int]:
    """The ids of the metrics given as (code, kind, unit); those not yet known are added."""
    for code, kind, unit in sorted(metrics):
        connection.execute(
            "INSERT INTO fleetmeter.metric (code, kind, unit) SELECT %(code)s, %(kind)s, %(unit)s "
            "WHERE NOT EXISTS (SELECT FROM fleetmeter.metric WHERE code = %(code)s) ON CONFLICT (code) DO "
            "NOTHING",
            {"code": code, "kind": kind, "unit": unit},
        )
    codes = [code for code, _, _ in metrics]
    rows = connection.execute("SELECT code, metric_id FROM fleetmeter.metric WHERE code = ANY(%s)", (codes,))
    return dict(rows.fetchall())


def find_metrics(connection: Connection, codes: Iterable[str]) -> dict[str, int]:
    """The ids of these metrics, as far as they are known."""
    rows = connection.execute(
        "SELECT code, metric_id FROM fleetmeter.metric WHERE code = ANY(%s)", (sorted(set(codes)),)
    )
    return dict(rows.fetchall())


def change_number(connection: Connection) -> int:
    """A number that is larger after every change of devices, owners, contracts or backfills."""
    row = connection.execute("SELECT number FROM fleetmeter.registry_change").fetchone()
    return row[0] if row else 0


def find_devices(connection: Connection, uids: Iterable[str]) -> dict[str, Device]:
    """The devices of these uids that the ledger knows, with their owners."""
    rows = connection.execute(
        "SELECT device.device_id, uid, alias, device_class, registered_at IS NOT NULL, customer.code, "
        "NULLIF(valid_from, '-infinity'), NULLIF(valid_to, 'infinity'), binding_id "
        "FROM fleetmeter.device LEFT JOIN fleetmeter.device_binding USING (device_id) "
        "LEFT JOIN fleetmeter.customer USING (customer_id) WHERE device.uid = ANY(%s) ORDER BY uid, "
        "binding_id",
        (sorted(set(uids)),),
    ).fetchall()
    heads: dict[str, tuple[int, str, str | None, str, bool]] = {}
    bindings: dict[str, list[Binding]] = {}
    for device_id, uid, alias, device_class, registered, customer, valid_from, valid_to, binding_id in rows:
        heads[uid] = (device_id, uid, alias, device_class, registered)
        if customer is not None:
            binding = Binding(customer, valid_from or _BEGINNING, valid_to, binding_id)
            bindings.setdefault(uid, []).append(binding)
    return {uid: Device(*head, tuple(bindings.get(uid, ()))) for uid, head in heads.items()}


def sight_devices(connection: Connection, uids: Iterable[str]) -> dict[str, Device]:
    """The devices of these uids; one that is not known gets a number, and stays unregistered."""
    wanted = sorted(set(uids))
    connection.execute(
        "INSERT INTO fleetmeter.device (uid) SELECT uid FROM unnest(%s::text[]) AS wanted (uid) "
        "WHERE NOT EXISTS (SELECT FROM fleetmeter.device WHERE device.uid = wanted.uid) "
        "ON CONFLICT (uid) DO NOTHING",
        (wanted,),
    )
    return find_devices(connection, wanted)


def list_devices(connection: Connection, after: str = "", limit: int = 1000) -> list[Device]:
    """Registered devices in the order of their uid, `limit` of them after the uid `after`."""
    rows = connection.execute(
        "SELECT uid FROM fleetmeter.device WHERE uid > %s AND registered_at IS NOT NULL ORDER BY uid LIMIT "
        "%s",
        (after, limit),
    ).fetchall()
    found = find_devices(connection, (uid for (uid,) in rows))
    return [found[uid] for (uid,) in rows]


def register(connection: Connection, wishes: Sequence[Registration], actor: str) -> Registered:
    """Register devices and record their owners, all or none; what is already so is left alone.

    Raises RegistrationError for an alias that is taken, would change or looks like a hardware id, for a uid
    in another spelling, and for an empty range.
    """
    for wish in wishes:
        _check(wish)
    with connection.transaction():
        known = sight_devices(connection, (wish.uid for wish in wishes))
        customers = customer_ids(connection, (wish.customer for wish in wishes))
        fresh = {uid for uid, device in known.items() if not device.registered}
        aliases = _aliases(connection, wishes, known)
        last = list({wish.uid: wish for wish in wishes}.values())
        connection.execute(
            "UPDATE fleetmeter.device SET alias = wished.alias, device_class = wished.device_class, "
            "registered_at = coalesce(registered_at, now()), registered_by = coalesce(registered_by, %s) "
            "FROM unnest(%s::int4[], %s::text[], %s::text[]) AS wished (device_id, alias, device_class) "
            "WHERE device.device_id = wished.device_id "
            "AND (device.alias, device.device_class) IS DISTINCT FROM (wished.alias, wished.device_class)",
            (
                actor,
                [known[wish.uid].device_id for wish in last],
                [aliases[wish.uid] for wish in last],
                [wish.device_class for wish in last],
            ),
        )
        new = _unrecorded(wishes, known)
        connection.execute(
            "INSERT INTO fleetmeter.device_binding (device_id, customer_id, valid_from, valid_to, "
            "recorded_by) "
            "SELECT device_id, customer_id, coalesce(since, '-infinity'), coalesce(until, 'infinity'), %s "
            "FROM unnest(%s::int4[], %s::int4[], %s::timestamptz[], %s::timestamptz[]) "
            "WITH ORDINALITY AS wished (device_id, customer_id, since, until, place) ORDER BY place",
            (
                actor,
                [known[wish.uid].device_id for wish in new],
                [customers[wish.customer] for wish in new],
                [wish.valid_from for wish in new],
                [wish.valid_to for wish in new],
            ),
        )
    return Registered(devices=len(fresh), bindings=len(new))


def _check(wish: Registration) -> None:
    try:
        spelling = device_uid(wish.uid)
    except ValueError as error:
        raise RegistrationError(f"uid: {error}") from None
    if spelling != wish.uid:
        raise RegistrationError(f"uid: write {spelling!r}, the one spelling of this device")
    if wish.valid_from is not None and wish.valid_to is not None and wish.valid_from >= wish.valid_to:
        raise RegistrationError("validFrom must be before validTo")
    if wish.alias is None:
        return
    if not _ALIAS.fullmatch(wish.alias):
        raise RegistrationError(
            "alias must have 1 to 128 letters, digits or . _ / - and begin with one of the first"
        )
    kind = hardware_id(wish.alias)
    if kind is not None or wish.alias.casefold() == wish.uid.casefold():
        raise RegistrationError(
            f"alias is the device's {kind or 'uid'}; invoices show it, so choose a name instead"
        )


def _aliases(
    connection: Connection, wishes: Sequence[Registration], known: dict[str, Device]
) -> dict[str, str]:
    """The alias of each uid: the one it has, the wished one, or a default that nobody else has."""
    for wish in wishes:
        own = known[wish.uid].alias
        if own is not None and wish.alias is not None and wish.alias != own:
            raise RegistrationError(
                f"the device has the alias {own!r} already; an alias never changes, since invoices name it"
            )
    wished = {wish.uid: wish.alias or known[wish.uid].alias for wish in wishes}
    chosen = {uid: alias for uid, alias in wished.items() if alias}
    defaults = {uid: hashlib.sha256(uid.encode()).hexdigest() for uid, alias in wished.items() if not alias}
    candidates = {f"device-{d[:n]}" for d in defaults.values() for n in range(_SHORTEST_DIGEST, 33, 4)}
    rows = connection.execute(
        "SELECT alias, uid FROM fleetmeter.device WHERE alias = ANY(%s)",
        (sorted(candidates | set(chosen.values())),),
    )
    holder: dict[str, str] = dict(rows.fetchall())
    for uid, alias in chosen.items():
        if holder.setdefault(alias, uid) != uid:
            raise RegistrationError(f"alias {alias!r} belongs to another device; choose another name")
    for uid, digest in defaults.items():
        free = next(n for n in range(_SHORTEST_DIGEST, 65, 4) if f"device-{digest[:n]}" not in holder)
        chosen[uid] = f"device-{digest[:free]}"
        holder[chosen[uid]] = uid
    return chosen


def _unrecorded(wishes: Sequence[Registration], known: dict[str, Device]) -> list[Registration]:
    """The wishes to record: all of a device's, unless they are the last that were recorded, in that order.

    So the same file may be sent again and again, and a device may go back to an earlier owner.
    """
    by_device: dict[str, list[Registration]] = {}
    for wish in dict.fromkeys(wishes):
        by_device.setdefault(wish.uid, []).append(wish)
    new: list[Registration] = []
    for uid, own in by_device.items():
        wanted = [(wish.customer, wish.valid_from or _BEGINNING, wish.valid_to) for wish in own]
        ordered = sorted(known[uid].bindings, key=lambda binding: binding.recorded)
        last = [(each.customer, each.valid_from, each.valid_to) for each in ordered[-len(own) :]]
        if wanted != last:
            new += own
    return new
