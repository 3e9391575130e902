"""What kopf calls: each handler only notes that something happened."""
