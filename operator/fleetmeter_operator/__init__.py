"""The operator: build <- status <- cluster <- reconcile <- handlers."""
