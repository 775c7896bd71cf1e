"""The tie of a process to the supervisor that started it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

from core.settings.source import lifeline

CALL = signal.SIGUSR1
"""What ``call_supervisor`` sends."""

STOP_AFTER = 15.0
"""Seconds that a process has to stop in order when the supervisor has died."""


def is_supervised() -> bool:
    """Whether a supervisor started this process, and starts it again."""
    return lifeline() is not None


def call_supervisor() -> None:
    """Ask the supervisor to look again at the children that rest; nothing happens without one."""
    if is_supervised():
        # Its pid, as long as we live: when it dies, the lifeline ends us.
        os.kill(os.getppid(), CALL)


@contextmanager
def following_parent() -> Generator[None]:
    """Stop when the supervisor dies: it holds the other end of a pipe and never writes to it."""
    fd = lifeline()
    if fd is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def parent_gone() -> None:
        loop.remove_reader(fd)
        os.kill(os.getpid(), signal.SIGTERM)
        loop.call_later(STOP_AFTER, os._exit, 1)

    loop.add_reader(fd, parent_gone)
    try:
        yield
    finally:
        loop.remove_reader(fd)
