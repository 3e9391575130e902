"""The fleetmeter command."""
