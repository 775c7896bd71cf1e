"""Checkpoints of the graph in Redis."""
