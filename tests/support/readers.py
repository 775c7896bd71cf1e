"""Readers of journals, and something for them to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from core.conversations.following import follow_user
from core.conversations.hub import Hub, Subscription
from core.conversations.journal import Entry
from core.engine.mailbox import Turn
from core.events import TextDelta
from core.store.connection import connect
from tests.support.desk import USER, Desk


@asynccontextmanager
async def open_hub(url: str) -> AsyncGenerator[Hub]:
    """A hub that listens."""
    redis = connect(url, blocking=True)
    hub = Hub(redis)
    task = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await hub.aclose()
        await redis.aclose()


async def write(desk: Desk, thread: str, *, count: int, name: str = "m1") -> Turn:
    """A turn with so many pieces, one journal entry each."""
    await desk.send(thread, name)
    turn = await desk.claim(thread)
    for number in range(1, count + 1):
        await desk.mailbox().emit(turn, number, [TextDelta(f"{name}.{number} ")], desk.settings)
    return turn


async def collect(
    desk: Desk, subscription: Subscription, after: str | None, *, ends: int
) -> list[Entry]:
    """Entries of all threads of the user, up to so many ends of turns."""
    got: list[Entry] = []
    batches = follow_user(desk.store, subscription, USER, after)
    async for entries in batches:
        got += entries
        if sum(entry.type == "turn_finished" for entry in got) == ends:
            break
    await batches.aclose()
    return got
