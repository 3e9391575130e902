"""Event: what happened on a device, as it really was and as the device noted it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Event:
    """`at`: the true time in milliseconds since 1970. `wall`, `boot`, `uptime`: what the device noted."""

    at: int
    epoch: str
    sequence: int
    quantity: str
    wall: int
    boot: int
    uptime: int
