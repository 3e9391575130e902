"""Property tests: no time limits on an example, and a failing one is printed whole."""

from hypothesis import settings

settings.register_profile("fleetmeter", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("fleetmeter")
