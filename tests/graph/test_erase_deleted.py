"""Nothing of a deleted conversation stays, whatever happened to whoever deleted it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.store import keys
from core.store.client import Store
from graph import jobs
from tests.support.studio import USER, in_order, studio, text
from tests.support.waiting import wait_until


async def test_a_deletion_whose_process_died_left_checkpoints_for_ever(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEFT_OVER_EVERY", 0.05)
    async with studio(store, tmp_path, in_order(text("Hello."))) as it:
        thread = await it.desk.thread()
        await it.say(thread, "hi")
        threads = it.services.threads
        await threads.delete(USER, thread)  # and then nobody asks for the job
        assert await threads.deleted() == [thread]
        assert await it.checkpoints(thread) > 0
        task = asyncio.create_task(jobs.erase_deleted(it.services, it.saver))
        await wait_until(lambda: _nothing_left(store, thread))
        assert await threads.deleted() == []
        task.cancel()
        await asyncio.wait([task])


async def _nothing_left(store: Store, thread: str) -> bool:
    redis = store.redis
    found = [name async for name in redis.scan_iter(match=f"*{thread}*", count=1000)]
    # What expires by itself may stay until then.
    lasting = [name for name in found if await redis.ttl(name) < 0]
    return not lasting and not await redis.exists(keys.deleted())
