"""Nothing of a deleted conversation stays, whatever happened to the process that deleted it."""

from __future__ import annotations

from pathlib import Path

from core.store import keys
from core.store.client import Store
from graph.jobs import JOBS, bind
from tests.support.studio import USER, in_order, studio, text


async def test_a_deletion_whose_process_died_left_checkpoints_for_ever(
    store: Store, tmp_path: Path
) -> None:
    async with studio(store, tmp_path, in_order(text("Hello."))) as it:
        thread = await it.desk.thread()
        await it.say(thread, "hi")
        threads = it.services.threads
        await threads.delete(USER, thread)  # and then nobody asks for the job
        assert await threads.deleted() == [thread]
        assert await it.checkpoints(thread) > 0
        periodic = {job.name: job for job in bind(JOBS, it.services, it.saver) if job.every}
        await periodic["erase_deleted"].function()
        assert await _nothing_left(store, thread)
        assert await threads.deleted() == []


async def _nothing_left(store: Store, thread: str) -> bool:
    redis = store.redis
    found = [name async for name in redis.scan_iter(match=f"*{thread}*", count=1000)]
    # What expires by itself may stay until then.
    lasting = [name for name in found if await redis.ttl(name) < 0]
    return not lasting and not await redis.exists(keys.deleted())
