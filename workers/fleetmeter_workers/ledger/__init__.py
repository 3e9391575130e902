"""The ledger in Postgres: its schema, and one module a table noun that holds all SQL on it."""
