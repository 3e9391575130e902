"""Free ports on loopback, each given to one process alone."""

import random
import socket
from typing import Final

LOOPBACK = "127.0.0.1"

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below what Linux gives to outgoing connections, which could take a port before its server does."""
_claims: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now, and that was given to nobody who still runs."""
    while True:
        port = random.randrange(_FIRST, _LAST)  # noqa: S311
        if _claimed(port) and _can_bind(port):
            return port


def _claimed(port: int) -> bool:
    """Claim the port among the processes that ask here; the kernel frees the name when this one ends."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0fleetmeter-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listening(port: int) -> bool:
    """Whether something accepts connections on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
