"""The models of Fleetmeter's resources, of contracts and of plans."""
