"""Device hint: whose message it probably is, for the queue's key and refusals, never for billing."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from fleetmeter_rules.device import device_uid


class _DeviceInfo(msgspec.Struct):
    dev_eui: str | None = msgspec.field(default=None, name="devEui")


class _ChirpStack(msgspec.Struct):
    device_info: _DeviceInfo | None = msgspec.field(default=None, name="deviceInfo")
    dev_eui: str | None = msgspec.field(default=None, name="devEUI")

    def device(self) -> str | None:
        """The device's identity as the message spells it."""
        return self.device_info.dev_eui if self.device_info is not None else self.dev_eui


class _Helium(msgspec.Struct):
    dev_eui: str | None = None

    def device(self) -> str | None:
        """The device's identity as the message spells it."""
        return self.dev_eui


class _Data(msgspec.Struct):
    device: str | None = None


class _Envelope(msgspec.Struct):
    device_: str | None = msgspec.field(default=None, name="device")
    specversion: str | None = None
    subject: str | None = None
    data: Any = None

    def device(self) -> str | None:
        """The device's identity as the message spells it."""
        if self.specversion is None:
            return self.device_
        try:
            inner = msgspec.convert(self.data, _Data).device
        except msgspec.ValidationError:
            inner = None
        return inner or self.subject


_Platform = _ChirpStack | _Helium | _Envelope
_READ: Final[dict[str, Callable[[bytes], _Platform]]] = {
    "chirpstack": msgspec.json.Decoder(_ChirpStack).decode,
    "helium": msgspec.json.Decoder(_Helium).decode,
    "json": msgspec.json.Decoder(_Envelope).decode,
}


def device_of(adapter: str, raw: bytes) -> str | None:
    """The uid of the device that the message names, or None where that can't be told. Never raises."""
    read = _READ.get(adapter)
    if read is None:
        return None
    try:
        named = read(raw).device()
        return None if named is None else device_uid(named)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
