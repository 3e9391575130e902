"""ChirpStack: uplink events of its integrations, versions 3 and 4, as JSON."""

import base64
import binascii
import re
from typing import Any, Final, cast

from fleetmeter_wire.adapters import lorawan
from fleetmeter_wire.message import Decoded, MalformedError, NotBillable
from fleetmeter_wire.strict_json import Object, load_object

_UPLINK_ONLY: Final = ("rxInfo", "fPort", "data")
# Some exports write the payload in hexadecimal; 16 such digits are base64 by chance once in 4e9.
_HEX = re.compile(r"(?:[0-9a-f]{2}){8,}")


def decode(raw: bytes) -> Decoded | NotBillable:
    """An uplink's items; status, join, acknowledgement and log events are not billable. Raises
    MalformedError.

    Proto3 JSON leaves out a zero, so an uplink without fCnt has frame counter 0; what makes it an uplink is
    that it has been received (rxInfo) or carries data. Without a devAddr (version 3) the session is not
    known.
    """
    message = load_object(raw)
    info = message.get("deviceInfo")
    if isinstance(info, dict):
        device = lorawan.device_eui(cast("Object", info), "devEui")
    else:
        device = lorawan.device_eui(message, "devEUI")
    if "fCnt" not in message and not any(name in message for name in _UPLINK_ONLY):
        return NotBillable("a ChirpStack event that is no uplink")
    counter = lorawan.frame_counter(message.get("fCnt", 0), "fCnt")
    session = lorawan.device_address(message, "devAddr")
    payload = _payload(message.get("data"))
    port: Any = message.get("fPort", 0)
    content: dict[str, str | bytes | int] = {"port": lorawan.frame_counter(port, "fPort"), "payload": payload}
    return lorawan.uplink(device, session, counter, len(payload), content)


def _payload(data: object) -> bytes:
    if data is None:
        return b""
    if not isinstance(data, str):
        raise MalformedError(f"data must be text in base64, not {lorawan.shown(data)}")
    if _HEX.fullmatch(data):
        return bytes.fromhex(data)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"data must be base64, not {lorawan.shown(data)}") from None
