"""Figures about speed and size, beside those of a bare app and a direct call."""
