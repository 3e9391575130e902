"""The consumer: each message of the topic is decided once and written to the ledger."""
