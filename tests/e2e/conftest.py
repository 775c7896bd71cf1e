"""One running assistant for the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio

from tests.support.stack import Stack, running_stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncGenerator[Stack]:
    """Web process, worker, embedded server and a scripted model."""
    async with running_stack() as running:
        yield running
