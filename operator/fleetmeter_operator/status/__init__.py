"""Status: what was observed in, conditions that tell a person what to do out; pure."""
