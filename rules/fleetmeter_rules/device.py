"""Device: one spelling for each device's identity, and what may not be shown as its alias."""

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Final

MAX_UID: Final = 255
_EUI64 = re.compile(r"(?:urn:dev:eui64:)?([0-9a-f]{2}([:-]?)(?:[0-9a-f]{2}\2){6}[0-9a-f]{2})", re.I)
_MAC = re.compile(r"(?:urn:dev:mac:)?([0-9a-f]{2}([:-])(?:[0-9a-f]{2}\2){4}[0-9a-f]{2})", re.I)
_BARE_MAC = re.compile(r"(?:urn:dev:mac:)?([0-9a-f]{12})", re.I)
_HARDWARE_URN = re.compile(r"urn:(imei|gsma:imei|dev:mac|dev:eui64|meid|esn)\b", re.I)


@lru_cache(maxsize=65536)
def device_uid(text: str) -> str:
    """The one spelling of a device's identity: NFC, hardware addresses in lower case without separators.

    16 hexadecimal digits are a LoRaWAN devEUI or an EUI-64, 12 are a MAC; with `:` or `-` between the bytes
    they are the same device. Any other text keeps its case. Raises ValueError for text that is empty, too
    long, or holds spaces at its ends, control characters, lone surrogates or marks that change the reading
    direction.
    """
    uid = text if text.isascii() else unicodedata.normalize("NFC", text)
    if not 0 < len(uid) <= MAX_UID:
        raise ValueError(f"a device's identity has 1 to {MAX_UID} characters, this one has {len(uid)}")
    if uid != uid.strip() or unseen(uid):
        raise ValueError("a device's identity holds a space at an end or a character that can't be seen")
    for pattern in (_EUI64, _MAC, _BARE_MAC):
        match = pattern.fullmatch(uid)
        if match:
            return re.sub("[:-]", "", match[1]).lower()
    return uid


def unseen(text: str) -> bool:
    """Whether the text holds a control character, a lone surrogate, or a mark that can't be seen or turns
    text."""
    if text.isascii():
        return not text.isprintable()
    return any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


def default_alias(uid: str) -> str:
    """The alias of a device that was given none: `device-` and 8 hexadecimal digits of the uid's hash."""
    return "device-" + hashlib.sha256(uid.encode()).hexdigest()[:8]


def hardware_id(alias: str) -> str | None:
    """What kind of hardware id an alias is (IMEI, ICCID, MAC, EUI-64, URN), or None: such an alias is
    refused."""
    if _HARDWARE_URN.match(alias):
        return "URN of a hardware id"
    if _MAC.fullmatch(alias):
        return "MAC"
    if _EUI64.fullmatch(alias):
        return "EUI-64"
    digits = re.sub(r"[ -]", "", alias)
    if re.fullmatch(r"[0-9]{15}", digits, re.ASCII) and _luhn(digits):
        return "IMEI"
    if re.fullmatch(r"89[0-9]{17,18}", digits, re.ASCII) and _luhn(digits):
        return "ICCID"
    return None


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
