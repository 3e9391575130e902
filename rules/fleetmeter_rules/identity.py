"""Identity: what makes two deliveries one event, as canonical bytes, public id and packed key."""

import hashlib
import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from struct import Struct
from typing import Final, TypeAlias

import msgspec

_VERSION: Final = b"fm1"
_NO_SESSION: Final = "none"
_HASHED: Final = 0x8000_0000
_MAX_DEVICE: Final = 0x7FFF_FFFF
_MAX_EPOCH: Final = 0xFFFF_FFFF
_MAX_SEQUENCE: Final = (1 << 48) - 1
_MAX_PACKED_ITEM: Final = 0x0FFF
_MAX_ITEM: Final = 0xFFFF_FFFF
_DEVADDR = re.compile(r"[0-9a-f]{8}")
_MAX_DIGITS: Final = 15
_PACK: Final = Struct(">IIQ").pack

# What the high four bits of the packed item say; numbers are stored for ever, so they only grow.
_TAG_LORAWAN: Final = 1
_TAG_LORAWAN_NO_SESSION: Final = 2
_TAG_EPOCH_SEQUENCE: Final = 3
_TAG_PRODUCER_ID: Final = 4


_Natural: TypeAlias = tuple[int, int, int]
"""Layout, epoch and sequence of an identity that fits the packed form."""


class IdentityMethod(StrEnum):
    """How the device named its event; the values are those of `identityMethods` of a device class."""

    PRODUCER_ID = "ProducerId"
    EPOCH_SEQUENCE = "EpochSequence"
    LORAWAN = "Lorawan"
    SPARKPLUG = "Sparkplug"
    HTTP_KEY = "HttpKey"
    CDC_POSITION = "CdcPosition"
    CONTENT_HASH = "ContentHash"
    BROKER_ID = "BrokerId"


WEAK_METHODS: Final = frozenset({IdentityMethod.CONTENT_HASH, IdentityMethod.BROKER_ID})
"""Methods that can merge two events or split one; a device class must allow them by name."""


class Identity(msgspec.Struct, frozen=True, gc=False):
    """One billable item of one event of one device; no customer, metric or time is part of it.

    `fields` are the method's own, in the order of its constructor below; `item` is the index in the message.
    """

    method: IdentityMethod
    device: str
    fields: tuple[str, ...]
    item: int = 0


class PackedKey(msgspec.Struct, frozen=True, gc=False):
    """The 16-byte primary key of an identity, and the canonical bytes where the key alone can't tell it."""

    key: bytes
    canonical: bytes | None


def lorawan(device: str, session: str | None, frame_counter: int, item: int = 0) -> Identity:
    """A LoRaWAN frame: devEUI, DevAddr or join session (None = not known, never guessed), 32-bit fCnt."""
    if session is None:
        scope = _NO_SESSION
    elif _DEVADDR.fullmatch(session.lower()):
        scope = f"addr:{session.lower()}"
    else:
        scope = f"join:{session}"
    return Identity(IdentityMethod.LORAWAN, device, (scope, str(frame_counter)), item)


def epoch_sequence(device: str, epoch: str, sequence: int, item: int = 0) -> Identity:
    """A device's own counter: the boot epoch (counter or random, as text) and the sequence inside it."""
    return Identity(IdentityMethod.EPOCH_SEQUENCE, device, (epoch, str(sequence)), item)


def producer_id(device: str, event: str, source: str = "", item: int = 0) -> Identity:
    """CloudEvents (source, id), scoped by the device that the gateway knows; no source = the device
    itself."""
    return Identity(IdentityMethod.PRODUCER_ID, device, (source, event), item)


def http_key(device: str, principal: str, route: str, key: str, item: int = 0) -> Identity:
    """An HTTP `Idempotency-Key`, scoped by principal and route."""
    return Identity(IdentityMethod.HTTP_KEY, device, (principal, route, key), item)


def sparkplug(
    device: str, edge: str, bd_seq: int, sent: int, seq: int, metric: str, item: int = 0
) -> Identity:
    """A Sparkplug B metric: group/edge path, bdSeq, payload timestamp in ms, seq, metric name with its
    time."""
    return Identity(IdentityMethod.SPARKPLUG, device, (edge, str(bd_seq), str(sent), str(seq), metric), item)


def cdc_position(device: str, connector: str, table: str, offset: str, item: int = 0) -> Identity:
    """A row of a change stream: connector, table and offset."""
    return Identity(IdentityMethod.CDC_POSITION, device, (connector, table, offset), item)


def content_hash(device: str, content: bytes, item: int = 0) -> Identity:
    """Weak: the decoded content itself, device time at full precision included. Equal events merge."""
    return Identity(IdentityMethod.CONTENT_HASH, device, (hashlib.sha256(content).hexdigest(),), item)


def broker_id(device: str, session: str, message: str, payload: bytes, item: int = 0) -> Identity:
    """Weak: the article's broker message id, scoped by MQTT session and payload."""
    return Identity(
        IdentityMethod.BROKER_ID, device, (session, message, hashlib.sha256(payload).hexdigest()), item
    )


def canonical(identity: Identity) -> bytes:
    """The identity as versioned bytes: method, device, fields and item, each UTF-8 behind a 4-byte length.

    Two identities have the same bytes only if they are equal. Raises ValueError for text that is not Unicode.
    """
    parts = (identity.method.value, identity.device, *identity.fields, str(identity.item))
    out = bytearray(_VERSION)
    for part in parts:
        try:
            raw = part.encode()
        except UnicodeEncodeError as error:
            raise ValueError("an identity holds a lone surrogate; refuse the message instead") from error
        out += len(raw).to_bytes(4, "big")
        out += raw
    return bytes(out)


def parse_canonical(data: bytes) -> Identity:
    """The identity behind its canonical bytes. Raises ValueError for anything else."""
    if not data.startswith(_VERSION):
        raise ValueError("not canonical identity bytes of a known version")
    parts: list[str] = []
    at = len(_VERSION)
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise ValueError("canonical identity bytes are cut short")
        parts.append(data[at + 4 : end].decode())
        at = end
    if len(parts) < 3:
        raise ValueError("canonical identity bytes lack a part")
    return Identity(IdentityMethod(parts[0]), parts[1], tuple(parts[2:-1]), int(parts[-1]))


def event_id(identity: Identity) -> str:
    """The public event id: `sha256:` and the hash of the canonical identity."""
    return "sha256:" + hashlib.sha256(canonical(identity)).hexdigest()


def packed_key(device_id: int, identity: Identity) -> PackedKey:
    """The primary key: device 4 B | epoch 4 B | sequence 6 B | layout 4 bits, item 12 bits.

    What doesn't fit: device with the top bit set | first 12 B of the event id, and the canonical bytes
    beside it. `device_id` is the registry's number, 0 to 2**31-1; ValueError outside.
    """
    if not 0 <= device_id <= _MAX_DEVICE:
        raise ValueError(f"device number {device_id} is outside 0 to {_MAX_DEVICE}")
    natural = None
    if identity.method in _NATURAL and identity.item <= _MAX_PACKED_ITEM:
        natural = _NATURAL[identity.method](identity.fields)
    if natural is not None:
        tag, epoch, sequence = natural
        return PackedKey(_PACK(device_id, epoch, (sequence << 16) | (tag << 12) | identity.item), None)
    full = canonical(identity)
    head = (device_id | _HASHED).to_bytes(4, "big")
    return PackedKey(head + hashlib.sha256(full).digest()[:12], full)


def identity_of(device: str, key: bytes, canonical_bytes: bytes | None = None) -> Identity:
    """The identity behind a stored row: the device's uid, the packed key, and the canonical bytes if stored.

    Raises ValueError for a key that this module never makes.
    """
    if key[0] & 0x80:
        if canonical_bytes is None:
            raise ValueError("a hashed key needs the canonical identity stored beside it")
        return parse_canonical(canonical_bytes)
    epoch = int.from_bytes(key[4:8], "big")
    sequence = int.from_bytes(key[8:14], "big")
    tag, item = key[14] >> 4, int.from_bytes(key[14:16], "big") & _MAX_PACKED_ITEM
    if tag == _TAG_LORAWAN:
        return lorawan(device, f"{epoch:08x}", sequence, item)
    if tag == _TAG_LORAWAN_NO_SESSION:
        return lorawan(device, None, sequence, item)
    if tag == _TAG_EPOCH_SEQUENCE:
        return epoch_sequence(device, str(epoch), sequence, item)
    if tag == _TAG_PRODUCER_ID:
        return producer_id(device, str((epoch << 48) | sequence), item=item)
    raise ValueError(f"packed key {key.hex()} has the unknown layout {tag}")


def device_id_of(key: bytes) -> int:
    """The registry's device number inside a packed key."""
    return int.from_bytes(key[:4], "big") & _MAX_DEVICE


def _natural_lorawan(fields: tuple[str, ...]) -> _Natural | None:
    scope, sequence = fields[0], _small(fields[1], _MAX_SEQUENCE)
    if sequence is None:
        return None
    if scope == _NO_SESSION:
        return _TAG_LORAWAN_NO_SESSION, 0, sequence
    if scope.startswith("addr:"):
        return _TAG_LORAWAN, int(scope[5:], 16), sequence
    return None


def _natural_epoch(fields: tuple[str, ...]) -> _Natural | None:
    epoch, sequence = _epoch(fields[0]), _small(fields[1], _MAX_SEQUENCE)
    return None if epoch is None or sequence is None else (_TAG_EPOCH_SEQUENCE, epoch, sequence)


def _natural_producer(fields: tuple[str, ...]) -> _Natural | None:
    sequence = _small(fields[1], _MAX_SEQUENCE) if fields[0] == "" else None
    return None if sequence is None else (_TAG_PRODUCER_ID, 0, sequence)


_NATURAL: Final[dict[str, Callable[[tuple[str, ...]], _Natural | None]]] = {
    IdentityMethod.LORAWAN: _natural_lorawan,
    IdentityMethod.EPOCH_SEQUENCE: _natural_epoch,
    IdentityMethod.PRODUCER_ID: _natural_producer,
}
"""How the fields of a method fit the packed form and come back unchanged; None where they do not."""


@lru_cache(maxsize=4096)
def _epoch(text: str) -> int | None:
    return _small(text, _MAX_EPOCH)


def _small(text: str, most: int) -> int | None:
    """The number, if the text is its one decimal spelling and it fits."""
    if not (text.isdigit() and text.isascii()) or len(text) > _MAX_DIGITS or (text[0] == "0" and text != "0"):
        return None
    value = int(text)
    return value if value <= most else None
