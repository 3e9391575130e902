"""What every test may count on: Ctrl-C means what it means in a terminal."""

import signal

# A run that a script started in the background inherits an ignored SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
