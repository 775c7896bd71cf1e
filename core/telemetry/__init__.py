"""Figures and traces that leave the process."""
