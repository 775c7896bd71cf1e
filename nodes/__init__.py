"""The steps of a turn, one per file."""
