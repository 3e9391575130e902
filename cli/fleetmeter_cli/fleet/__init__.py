"""A model of a fleet: devices with the faults of real ones, and the truth about each event."""
