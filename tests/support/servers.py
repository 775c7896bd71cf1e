"""Which Redis or Valkey the tests run on: ours, or the one that TEST_REDIS_SERVER names."""

from __future__ import annotations

import os
import shutil

from core.embedded import server_binary

VARIABLE = "TEST_REDIS_SERVER"


def server_command() -> tuple[str, ...]:
    """The program to start. Fails when the variable names none."""
    named = os.environ.get(VARIABLE)
    if not named:
        return (str(server_binary()),)
    found = shutil.which(named)
    assert found is not None, f"{VARIABLE} names no program: {named}"
    return (found,)
