"""Profile: how large a simulated fleet is, which facts its devices send, and how often things go wrong."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final

from typer import BadParameter, Option

from fleetmeter_cli.fleet.instant import DAY, at_midnight

DEFAULT_START: Final = date(2026, 3, 25)
_LAST_START: Final = date(2150, 1, 1)


class ProfileError(ValueError):
    """A fleet that can't be simulated; the text says what to change."""


def _day(text: str | date) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise BadParameter("write a day like 2026-03-25") from None


def _fact(text: str) -> Any:
    return Option(help=text, rich_help_panel="Facts that devices send")


def _fault(text: str) -> Any:
    panel = "Faults (shares of the fleet or of its messages; rates for a device in 30 days)"
    return Option(help=text, rich_help_panel=panel)


@dataclass(frozen=True, slots=True)
class Profile:
    """Each field is an option of the command. Shares are from 0 to 1; rates are for a device in 30 days."""

    devices: Annotated[int, Option(help="How many devices.", min=1)]
    days: Annotated[int, Option(help="For how many days events happen; stragglers arrive later.", min=1)]
    seed: Annotated[int, Option(help="The same seed gives the same bytes, on every machine.", min=0)]
    start: Annotated[date, Option(help="First day, UTC.", parser=_day, metavar="YYYY-MM-DD")] = DEFAULT_START
    every_seconds: Annotated[
        int, Option("--every", help="Seconds between two events of a device.", min=1)
    ] = 600
    metric: Annotated[str, Option(help="What is counted: messages are 1 each, others have decimals.")] = (
        "messages"
    )
    customers: Annotated[int, Option(help="How many customers own the fleet.", min=1)] = 5
    device_class: Annotated[str, Option(help="The devices' class in the registry.")] = "default"
    share_sent_at: Annotated[float, _fact("Devices that say when they sent a message.")] = 1.0
    share_uptime: Annotated[float, _fact("Devices that tell uptime and boot id.")] = 1.0
    wrong_clocks: Annotated[float, _fault("Devices with a clock that is not simply synchronised.")] = 0.30
    boundary_outages: Annotated[float, _fault("Devices offline for 48-72 h over each month's end.")] = 0.30
    late: Annotated[float, _fault("Devices back only after 72 h of grace.")] = 0.0
    outages: Annotated[float, _fault("Outages of 2 minutes to 12 h, a device in 30 days.")] = 1.0
    long_outages: Annotated[float, _fault("Outages of 4-21 days, a device in 30 days.")] = 0.005
    storms: Annotated[float, _fault("Carrier failures that half of the fleet sees, in 30 days.")] = 2.0
    reboots: Annotated[float, _fault("Reboots, a device in 30 days.")] = 3.0
    replaced: Annotated[float, _fault("Devices that are replaced by another.")] = 0.02
    sold: Annotated[float, _fault("Devices that change the customer.")] = 0.02
    retransmitted: Annotated[float, _fault("Messages that are not sent just once.")] = 0.01
    lost: Annotated[float, _fault("Events of which nothing ever arrives.")] = 0.001
    poison: Annotated[float, _fault("Messages followed by one that nobody can bill.")] = 0.0005
    guard_seconds: Annotated[
        int, _fault("No event so close to the edge of a month or an ownership: nobody can tell its side.")
    ] = 60

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
