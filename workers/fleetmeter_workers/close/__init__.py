"""The close: contract periods of a billing period are sealed, priced and invoiced."""
