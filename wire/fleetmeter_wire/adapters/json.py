"""JSON: Fleetmeter's own envelope, as its JSON text."""

from fleetmeter_wire import envelope
from fleetmeter_wire.envelope import RequestKey
from fleetmeter_wire.message import Decoded, NotBillable
from fleetmeter_wire.strict_json import load_object


def decode(raw: bytes, request: RequestKey | None = None) -> Decoded | NotBillable:
    """The items of an envelope. Raises MalformedError."""
    return envelope.read(load_object(raw), request)
