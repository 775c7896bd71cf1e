"""Contracts and outside boundaries; imports none of our other packages."""
