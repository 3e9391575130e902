"""Free ports on loopback."""

import random
import socket
from typing import Final

LOOPBACK = "127.0.0.1"

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below what Linux gives to outgoing connections, which could take a port before its server does."""
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now, and that this process was not given before."""
    while True:
        port = random.randrange(_FIRST, _LAST)  # noqa: S311
        if port not in _given and _can_bind(port):
            _given.add(port)
            return port


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
