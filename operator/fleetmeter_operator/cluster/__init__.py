"""The cluster as the operator reads and writes it: the API server, and a region's /status."""
