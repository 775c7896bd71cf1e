"""Questions from one process to another: the web process asks, a worker answers."""
