"""The queue under its earlier name."""

from fleetmeter_workers.queue import Queue as Queue
from fleetmeter_workers.queue import QueueAwayError as QueueAwayError
