"""`python -m fleetmeter_operator` runs the operator."""

from fleetmeter_operator.main import main

main()
