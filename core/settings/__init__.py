"""Settings: the groups with their limits, and where values come from."""
