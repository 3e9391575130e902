"""Envelope: an event as the JSON text that the device sends, with the facts that its kind can tell."""

import json
from dataclasses import dataclass

from fleetmeter_cli.fleet.boots import Boots
from fleetmeter_cli.fleet.event import Event
from fleetmeter_cli.fleet.instant import MINUTE, rfc3339
from fleetmeter_cli.fleet.wall_clock import WallClock


@dataclass(frozen=True, slots=True)
class Facts:
    """What a device tells besides the event and its own time of it."""

    sent_at: bool
    uptime: bool


class Envelope:
    """Writes one device's messages: the json adapter's form, `_timestamp` is R in milliseconds."""

    def __init__(self, spelling: str, metric: str, facts: Facts, clock: WallClock, boots: Boots) -> None:
        self._device = json.dumps(spelling)
        self._metric = json.dumps(metric)
        self._facts = facts
        self._clock = clock
        self._boots = boots

    def text(self, event: Event, sent: int, received: int) -> str:
        """The message as it is sent at `sent` and received at `received`."""
        message = (
            f'{{"_timestamp":{received},"device":{self._device},"epoch":"{event.epoch}","seq":{event.sequence}'
            f',"items":[{{"metric":{self._metric},"quantity":"{event.quantity}"}}]'
            f',"eventAt":"{rfc3339(event.wall)}"'
        )
        facts = self._facts
        if facts.sent_at:
            message += f',"sentAt":"{rfc3339(self._clock.read(sent))}"'
            if self._clock.corrected(event.at, sent):
                message += ',"clockStepped":true'
        if facts.uptime:
            message += self._uptimes(event, sent)
        if (facts.sent_at or facts.uptime) and sent - event.at > MINUTE:
            message += ',"historical":true'
        return message + "}"

    def _uptimes(self, event: Event, sent: int) -> str:
        boots = self._boots
        running = boots.index(sent)
        told = f',"uptime":{event.uptime},"sentUptime":{boots.uptime(running, sent)}'
        told += f',"boot":"{boots.boot_id(event.boot)}"'
        return told if running == event.boot else f'{told},"sentBoot":"{boots.boot_id(running)}"'
