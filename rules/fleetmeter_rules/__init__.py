"""The billing rules: pure functions, one module a rule."""
