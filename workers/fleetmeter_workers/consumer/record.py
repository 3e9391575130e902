"""A record of the topic as Kafka gives it, and the message that its bytes make; pure."""

from datetime import datetime

import msgspec

from fleetmeter_rules.instant import from_micros
from fleetmeter_wire.decode import decode
from fleetmeter_wire.message import Decoded, NotBillable, Refusal
from fleetmeter_wire.record import HeaderError, Headers, decode_headers, refusal_reason, request_key


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record: its place, its log time (R unless a backfill states another) and its bytes."""

    partition: int
    offset: int
    leader_epoch: int
    log_time: datetime
    headers: tuple[tuple[str, bytes | str | None], ...]
    value: bytes


class Message(msgspec.Struct, frozen=True, gc=False):
    """A record that was read; `headers` is None where no gateway can have written them."""

    record: Record
    headers: Headers | None
    outcome: Decoded | NotBillable | Refusal

    @property
    def stated_at(self) -> datetime | None:
        """R as a backfill states it; None for a message that is no history."""
        if self.headers is None or self.headers.backfill is None or self.headers.stated is None:
            return None
        return from_micros(self.headers.stated)


def read(record: Record) -> Message:
    """What the record says; never raises."""
    try:
        headers = decode_headers(record.headers)
    except HeaderError as error:
        return Message(record, None, Refusal("unparseable", str(error)))
    reason = refusal_reason(headers)
    if reason is not None:
        return Message(
            record, headers, Refusal(reason, "refused at the entrance; only its beginning was kept")
        )
    try:
        return Message(record, headers, decode(headers.adapter, record.value, request_key(headers)))
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        detail = f"the adapter failed with {type(error).__name__}; please report it with these bytes"
        return Message(record, headers, Refusal("unparseable", detail))
