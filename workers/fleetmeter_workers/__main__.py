"""`python -m fleetmeter_workers` is `fleetmeter-worker`."""

from fleetmeter_workers.main import main

main()
