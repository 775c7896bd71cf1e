"""Waiting for a condition instead of sleeping for a guess."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], *, timeout: float = 5, every: float = 0.01
) -> None:
    """Return once ``condition()`` is truthy. Raises AssertionError after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return
        if time.monotonic() > end:
            raise AssertionError(
                f"not so after {timeout} s: {inspect.getsource(condition).strip()}"
            )
        await asyncio.sleep(every)
