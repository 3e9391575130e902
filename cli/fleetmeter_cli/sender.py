"""What a sender of messages promises, whatever it speaks."""

from typing import Protocol


class SendError(Exception):
    """Messages could not be handed over; the message says why and what to do."""


class Sender(Protocol):
    """Takes messages in order and tells when they are confirmed; each arrives at least once."""

    @property
    def confirmed(self) -> int:
        """Messages that the other side has confirmed so far."""
        ...

    def send(self, raw: bytes, received: int | None) -> None:
        """Send a message and the receive time it states; waits while the window is full. Raises SendError."""
        ...

    def finish(self) -> None:
        """Wait until all are confirmed. Raises SendError."""
        ...

    def close(self) -> None:
        """Let the connection go, confirmed or not."""
        ...
