"""The billing rules: pure functions, one module a rule; no I/O, no clock, no randomness."""
