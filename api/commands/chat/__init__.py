"""`assistant chat`."""
