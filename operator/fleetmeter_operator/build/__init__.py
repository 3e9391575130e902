"""Builders: a region's model in, the desired Kubernetes objects out, as plain dicts; no clock and no I/O."""
