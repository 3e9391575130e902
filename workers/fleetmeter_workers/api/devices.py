"""Devices: the registry, read page by page and filled by lines of JSON, each taken or refused by itself."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from starlette.responses import Response

from fleetmeter_workers.api.call import Call
from fleetmeter_workers.api.endpoint import json_response
from fleetmeter_workers.ledger import registry
from fleetmeter_workers.ledger.database import Connection
from fleetmeter_workers.ledger.registry import Device, Registered, Registration, RegistrationError

MOST_BYTES = 32 * 1024 * 1024
_MOST_REFUSALS_SHOWN = 1000


class DeviceLine(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One device and its owner for [validFrom, validTo), RFC 3339; absent or null means without bound."""

    uid: str
    customer: str
    alias: str | None = None
    device_class: str = "default"
    valid_from: datetime | None = None
    valid_to: datetime | None = None


class RefusedLine(msgspec.Struct, frozen=True):
    """A line that was not taken, counted from 1, and why."""

    line: int
    reason: str


class RegistrationResult(msgspec.Struct, frozen=True, rename="camel"):
    """What a registration changed. `refusedLines` holds the first thousand of the refused."""

    lines: int
    devices: int
    bindings: int
    refused: int
    refused_lines: list[RefusedLine]


class Owner(msgspec.Struct, frozen=True, rename="camel"):
    """A binding; of those that cover an instant the last in the list is the owner's."""

    customer: str
    valid_from: datetime | None
    valid_to: datetime | None


class DeviceEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A registered device. `uid` is the hardware id, `alias` what invoices show."""

    uid: str
    alias: str
    device_class: str
    owners: list[Owner]


class DeviceList(msgspec.Struct, frozen=True, rename="camel"):
    """Registered devices by uid; `next` goes into `after` for the next page."""

    devices: list[DeviceEntry]
    next: str | None = None


def list_devices(call: Call) -> Response:
    """GET /v1/devices."""
    limit = call.limit()
    with call.parts.ledger.connection() as connection:
        found = registry.list_devices(connection, after=call.text("after") or "", limit=limit)
    return json_response(
        DeviceList([_entry(each) for each in found], found[-1].uid if len(found) == limit else None)
    )


def register(call: Call) -> Response:
    """POST /v1/devices: every good line is taken, every other one named with its reason."""
    classes = {each.name for each in call.parts.region.spec.all_device_classes()}
    refused: list[RefusedLine] = []
    wishes: list[tuple[int, Registration]] = []
    count = 0
    for number, text in _lines(call.body):
        count += 1
        try:
            wishes.append((number, _wish(text, classes)))
        except ValueError as error:
            refused.append(RefusedLine(number, str(error)))
    with call.parts.ledger.connection() as connection:
        wishes, renamed = _keep_names(connection, wishes)
        done, unfit = _register(connection, wishes, call.actor)
    refused = sorted([*refused, *renamed, *unfit], key=lambda each: each.line)
    return json_response(
        RegistrationResult(count, done.devices, done.bindings, len(refused), refused[:_MOST_REFUSALS_SHOWN])
    )


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _wish(text: bytes, classes: set[str]) -> Registration:
    """Raises ValueError with what to mend; it repeats no value of the line."""
    try:
        line = msgspec.json.decode(text, type=DeviceLine)
    except msgspec.DecodeError as error:
        raise ValueError(f'{error}; a line is one object like {{"uid": …, "customer": …}}') from error
    for name, instant in (("validFrom", line.valid_from), ("validTo", line.valid_to)):
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"{name} has no offset; write it like 2023-01-01T00:00:00Z")
    if not 1 <= len(line.customer) <= 63:
        raise ValueError("customer must be a code of 1 to 63 characters, as in the customer's contract")
    if line.device_class not in classes:
        raise ValueError(f"the region has no such deviceClass; it has {', '.join(sorted(classes))}")
    return Registration(
        line.uid, line.customer, line.alias or None, line.device_class, line.valid_from, line.valid_to
    )


def _keep_names(
    connection: Connection, wishes: Sequence[tuple[int, Registration]]
) -> tuple[list[tuple[int, Registration]], list[RefusedLine]]:
    """Refuse another alias for a device that has one: invoices and their digests name the device by it."""
    known = registry.find_devices(connection, (wish.uid for _, wish in wishes if wish.alias))
    kept: list[tuple[int, Registration]] = []
    refused: list[RefusedLine] = []
    for number, wish in wishes:
        device = known.get(wish.uid)
        if device is not None and device.registered and wish.alias not in (None, device.alias):
            reason = "the device has another alias already, and invoices name it by that; leave alias out"
            refused.append(RefusedLine(number, reason))
        else:
            kept.append((number, wish))
    return kept, refused


def _register(
    connection: Connection, wishes: Sequence[tuple[int, Registration]], actor: str
) -> tuple[Registered, list[RefusedLine]]:
    """Register all at once; where one of them is unfit, halve until it stands alone."""
    if not wishes:
        return Registered(0, 0), []
    try:
        return registry.register(connection, [wish for _, wish in wishes], actor), []
    except RegistrationError as error:
        if len(wishes) == 1:
            return Registered(0, 0), [RefusedLine(wishes[0][0], str(error))]
    middle = len(wishes) // 2
    first, refused = _register(connection, wishes[:middle], actor)
    second, also_refused = _register(connection, wishes[middle:], actor)
    done = Registered(first.devices + second.devices, first.bindings + second.bindings)
    return done, [*refused, *also_refused]


def _entry(device: Device) -> DeviceEntry:
    owners = [
        Owner(binding.customer, binding.valid_from if binding.valid_from.year > 1 else None, binding.valid_to)
        for binding in sorted(device.bindings, key=lambda binding: binding.recorded)
    ]
    return DeviceEntry(device.uid, device.alias or "", device.device_class, owners)
