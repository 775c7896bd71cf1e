"""Options of the campaign: `make chaos PYTEST='--chaos-seed 7 --chaos-faults 300'`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known when tests/chaos is named on the command line, as `make chaos` does."""
    parser.addoption("--chaos-seed", type=int, default=None, help="seed of the long campaign")
    parser.addoption("--chaos-faults", type=int, default=None, help="its number of faults")
