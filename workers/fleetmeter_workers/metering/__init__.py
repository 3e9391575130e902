"""What a period's readings amount to: for its invoice, and for whoever asks before it is closed."""
