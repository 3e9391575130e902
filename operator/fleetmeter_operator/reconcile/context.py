"""What every reconciler works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fleetmeter_operator.build.site import Images, Object
from fleetmeter_operator.cluster.client import Client
from fleetmeter_operator.cluster.report import Reports
from fleetmeter_operator.reconcile.departure import Departures


@dataclass(frozen=True)
class Context:
    """The cluster, the regions' reports, the jurisdiction served, and the two things that are not pure.

    `clock` gives the present moment in UTC; `generate` gives a fresh password. `departures` is all that one
    pass remembers for the next.
    """

    client: Client
    reports: Reports
    images: Images
    jurisdiction: str
    clock: Callable[[], datetime]
    generate: Callable[[], str]
    metrics_from: tuple[Object, ...] = ()
    departures: Departures = field(default_factory=Departures)
