"""One running assistant for all stories of a module."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio

from tests.support.friend import Friend, friend_of
from tests.support.stack import Stack, running_stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncGenerator[Stack]:
    """Web process, worker, embedded server and a scripted model that answers at a human pace."""
    async with running_stack(pace=400) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def friend(stack: Stack) -> AsyncGenerator[Friend]:
    """Somebody who talks to it."""
    async with friend_of(stack) as somebody:
        yield somebody
