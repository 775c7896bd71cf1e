"""Ways in and out besides HTTP."""
