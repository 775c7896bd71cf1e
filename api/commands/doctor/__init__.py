"""`assistant doctor`."""
