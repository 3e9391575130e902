"""Profile: how large a simulated fleet is, which facts its devices send, and how often things go wrong."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from fleetmeter_cli.fleet.instant import DAY, at_midnight

DEFAULT_START: Final = date(2026, 3, 25)
_LAST_START: Final = date(2150, 1, 1)


class ProfileError(ValueError):
    """A fleet that can't be simulated; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares are of the fleet's devices or of its messages, from 0 to 1; rates are for a device in 30 days.

    `boundary_outages`: the share that is offline over each end of a month, for 48 to 72 hours. `late`: the
    share that is offline over it for so long that it comes back after 72 hours of grace. `guard_seconds`:
    no event happens so close to the edge of a month or of an ownership, because nobody can tell on which
    side an event was that is closer to it than a clock's error.
    """

    devices: int
    days: int
    seed: int
    start: date = DEFAULT_START
    every_seconds: int = 600
    metric: str = "messages"
    customers: int = 5
    device_class: str = "default"
    share_sent_at: float = 1.0
    share_uptime: float = 1.0
    wrong_clocks: float = 0.30
    boundary_outages: float = 0.30
    outages: float = 1.0
    long_outages: float = 0.005
    late: float = 0.0
    storms: float = 2.0
    reboots: float = 3.0
    replaced: float = 0.02
    sold: float = 0.02
    retransmitted: float = 0.01
    lost: float = 0.001
    poison: float = 0.0005
    guard_seconds: int = 60

    def __post_init__(self) -> None:
        """Raises ProfileError."""
        for name in ("devices", "days", "every_seconds", "customers"):
            if getattr(self, name) < 1:
                raise ProfileError(f"{_option(name)} must be at least 1")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", self.metric):
            raise ProfileError("--metric is a code: lower case, digits and _, a letter first")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ProfileError(f"{_option(name)} is a share: give a number from 0 to 1")
        for name in ("outages", "storms", "reboots"):
            if not 0 <= getattr(self, name) <= 1000:
                raise ProfileError(f"{_option(name)} is a rate in 30 days: give a number from 0 to 1000")
        if not 0 <= self.guard_seconds <= 3600:
            raise ProfileError("--guard-seconds must be from 0 to 3600")
        if not date(2001, 1, 1) <= self.start <= _LAST_START:
            raise ProfileError(f"--start must be from 2001-01-01 to {_LAST_START}")
        if self.days > 3660:
            raise ProfileError("--days must be at most 3660")

    @property
    def start_at(self) -> int:
        """The start in milliseconds since 1970."""
        return at_midnight(self.start)

    @property
    def end_at(self) -> int:
        """The end of the events; what is stored then still arrives later."""
        return self.start_at + self.days * DAY

    @property
    def expected_messages(self) -> int:
        """About how many messages there will be."""
        return self.devices * self.days * 86_400 // self.every_seconds


_SHARES: Final = (
    "share_sent_at",
    "share_uptime",
    "wrong_clocks",
    "boundary_outages",
    "long_outages",
    "late",
    "replaced",
    "sold",
    "retransmitted",
    "lost",
    "poison",
)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-").replace("every-seconds", "every")
