"""Message: what an adapter makes of bytes: billable items, nothing billable, or a refusal with a reason."""

from decimal import Decimal
from typing import Final, Literal

import msgspec

from fleetmeter_rules.event_time import DeviceTime
from fleetmeter_rules.identity import Identity, IdentityMethod

MAX_BYTES: Final = 256 * 1024
"""The largest message that is decoded."""
KEPT_BYTES: Final = 4 * 1024
"""How much of a larger one is kept."""

MESSAGES: Final = "messages"
PAYLOAD_BYTES: Final = "payload_bytes"

Reason = Literal["unparseable", "unknown_adapter", "too_large", "quantity_invalid"]
"""Why a message was refused; the codes are the quarantine's."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One billable quantity of a message, with the identity and the fingerprint that deduplication compares.

    `register`: which of the device's registers a cumulative reading belongs to; empty for its only one.
    """

    metric: str
    quantity: Decimal
    identity: Identity
    fingerprint: bytes
    register: str = ""


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A billable message: the device's uid as the message gives it, its items, and what it says about
    time."""

    device: str
    method: IdentityMethod
    items: tuple[Item, ...]
    time: DeviceTime | None = None


class NotBillable(msgspec.Struct, frozen=True, gc=False):
    """A well-formed message that is no usage: counted, kept nowhere."""

    detail: str


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A message that can't be billed as it is: a reason code, a sentence for people, the device where
    known."""

    reason: Reason
    detail: str
    device: str | None = None


class MalformedError(Exception):
    """What an adapter raises inside; `decode` turns it into a Refusal. No other exception may leave an
    adapter."""

    def __init__(self, detail: str, reason: Reason = "unparseable") -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason: Reason = reason
