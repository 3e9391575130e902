"""Decode: the one way from a platform's bytes to billable items, a not-billable or a refusal."""

from collections.abc import Callable
from typing import Final

from fleetmeter_rules.number import clip
from fleetmeter_wire.adapters import chirpstack, helium, json
from fleetmeter_wire.device_hint import device_of
from fleetmeter_wire.envelope import RequestKey
from fleetmeter_wire.message import MAX_BYTES, Decoded, MalformedError, NotBillable, Refusal

ADAPTERS: Final[dict[str, Callable[[bytes], Decoded | NotBillable]]] = {
    "chirpstack": chirpstack.decode,
    "helium": helium.decode,
    "json": json.decode,
}


def decode(adapter: str, raw: bytes, request: RequestKey | None = None) -> Decoded | NotBillable | Refusal:
    """What a message says, by the adapter of its platform. Never raises, whatever the bytes are.

    `request` is the key of the HTTP request that it came with; a platform's own message has its own identity.
    """
    read = ADAPTERS.get(adapter)
    if read is None:
        return Refusal("unknown_adapter", f"no adapter {clip(adapter)}; there are {', '.join(ADAPTERS)}")
    if len(raw) > MAX_BYTES:
        return Refusal("too_large", f"the message has {len(raw)} bytes; {MAX_BYTES} are the most")
    try:
        return read(raw) if request is None or read is not json.decode else json.decode(raw, request)
    except MalformedError as error:
        return Refusal(error.reason, error.detail, device_of(adapter, raw))
