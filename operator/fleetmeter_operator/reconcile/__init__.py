"""Level-triggered reconciliation: one key at a time, from whatever is there to what is wanted."""
