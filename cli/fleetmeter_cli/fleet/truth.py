"""Truth: what really happened, one line an event, to compare a bill with."""

import json
from dataclasses import dataclass, field
from typing import IO

from fleetmeter_cli.fleet.event import Event
from fleetmeter_cli.fleet.instant import month, month_edges, rfc3339
from fleetmeter_cli.fleet.ownership import Holding
from fleetmeter_rules.identity import epoch_sequence, event_id


@dataclass(slots=True)
class Contents:
    """What a simulated fleet consists of, counted while it is made."""

    counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, name: str, number: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + number


class Truth:
    """Writes the truth of a fleet to a text file."""

    def __init__(self, out: IO[str], metric: str, start: int, end: int, contents: Contents) -> None:
        self._out = out
        self._metric = json.dumps(metric)
        edges = month_edges(start, end)
        self._months = [(since, month(since)) for since in (start, *edges)][::-1]
        self.contents = contents

    def write(self, uid: str, event: Event, held: tuple[Holding, ...], received: int | None) -> None:
        """Note an event. `received`: R of its first copy in milliseconds, None where no copy arrives."""
        period = next(name for since, name in self._months if since <= event.at)
        owner = held[0].customer
        if len(held) > 1 and event.at >= held[1].since:
            owner = held[1].customer
        name = event_id(epoch_sequence(uid, event.epoch, event.sequence))
        self._out.write(
            f'{{"event_id":"{name}","device":"{uid}","customer":"{owner}","metric":{self._metric}'
            f',"quantity":"{event.quantity}","true_time":"{rfc3339(event.at)}","period":"{period}"'
            f',"delivered":{"false" if received is None else "true"}'
            f',"received":{"null" if received is None else received}}}\n'
        )
