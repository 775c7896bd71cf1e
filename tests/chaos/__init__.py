"""The chaos campaign: real processes, seeded faults, and what must hold afterwards."""
