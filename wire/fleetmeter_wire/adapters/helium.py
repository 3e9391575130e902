"""Helium: uplinks of its console's HTTP and MQTT integrations, as JSON."""

import base64
import binascii

from fleetmeter_wire.adapters import lorawan
from fleetmeter_wire.message import Decoded, MalformedError, NotBillable
from fleetmeter_wire.strict_json import load_object


def decode(raw: bytes) -> Decoded | NotBillable:
    """An uplink's items. Copies of one frame differ in hotspots and times only. Raises MalformedError.

    The content is the payload in base64; where the integration leaves it out, its size and its decoded form.
    """
    message = load_object(raw)
    device = lorawan.device_eui(message, "dev_eui")
    if message.get("fcnt") is None and message.get("type") not in (None, "uplink"):
        return NotBillable("a Helium event that is no uplink")
    counter = lorawan.frame_counter(message.get("fcnt"), "fcnt")
    session = lorawan.device_address(message, "devaddr")
    content: dict[str, str | bytes | int] = {"port": lorawan.frame_counter(message.get("port", 0), "port")}
    size: int | None = None
    if message.get("payload_size") is not None:
        size = lorawan.frame_counter(message["payload_size"], "payload_size")
    payload = message.get("payload")
    if isinstance(payload, str):
        content["payload"] = _base64(payload)
        size = len(content["payload"])
    elif message.get("decoded") is not None:
        content["decoded"] = lorawan.canonical_json(message["decoded"])
    return lorawan.uplink(device, session, counter, size, content)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"payload must be base64, not {lorawan.shown(text)}") from None
