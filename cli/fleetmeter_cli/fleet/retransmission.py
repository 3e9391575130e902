"""Retransmission: how often a message is sent, when, and whether anything of it arrives."""

from typing import Final

from fleetmeter_cli.fleet.chance import Chance, between
from fleetmeter_cli.fleet.instant import DAY, SECOND
from fleetmeter_cli.fleet.link import Link

IN_FLIGHT: Final = 4
"""How many unconfirmed messages a device keeps to send again when it reconnects."""


def retransmission(sent: int, link: Link, retry_until: int, source: Chance) -> list[int]:
    """The times at which the copies that arrive are sent, for a message that is not sent just once.

    Lost confirmations make a copy within half an hour, a broker makes several within a second, a message
    itself may be lost and only its repetition arrive, and a forgotten buffer is sent again after weeks.
    `retry_until`: when the device boots next; it repeats a lost message only before.
    """
    draw = source.random()
    if draw < 0.4:
        return [sent, link.up(sent + _pause(source))]
    if draw < 0.7:
        again = sent + _pause(source)
        return [again] if again < retry_until and link.unbroken(sent, again) else [sent]
    if draw < 0.95:
        return [sent + 200 * number for number in range(2 + between(source, 0, 3))]
    return [sent, link.up(sent + between(source, DAY, 21 * DAY))]


def _pause(source: Chance) -> int:
    """Mostly seconds, up to half an hour."""
    if source.random() < 0.6:
        return between(source, 5 * SECOND, 60 * SECOND)
    return between(source, 60 * SECOND, 1800 * SECOND)


def transit(source: Chance) -> int:
    """Milliseconds from the device to the receiver: 20 to 400, one in a hundred up to two seconds."""
    draw = source.random()
    return 20 + int(380 * draw) if draw < 0.99 else 20 + int(200_000 * (draw - 0.99))
