"""The whole line as processes on loopback, without Kubernetes."""
