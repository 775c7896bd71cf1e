"""What the chaos campaign found by setting clocks, each under the name of what broke.

A clock that went back is seen in Redis by a key that lives longer than it was made for.
"""

from __future__ import annotations

from pathlib import Path

from core.engine.mailbox import Busy
from core.store import keys
from core.store.client import Store
from core.store.exclusive import HELD_MS, exclusive
from tests.support.desk import Desk
from tests.support.engines import working
from tests.support.waiting import wait_until

SIX_HOURS_MS = 6 * 3600 * 1000


async def test_a_dead_workers_conversation_waited_until_the_clock_was_where_it_had_been(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    await desk.claim(thread, "killed")
    await desk.redis.pexpire(keys.lease(thread), SIX_HOURS_MS)
    await desk.redis.delete(keys.doorbell())
    async with working(redis_url, tmp_path, lease_ms=1000):

        async def ended() -> bool:
            return await desk.transcript(thread) == [["m1", "completed"]]

        await wait_until(ended, timeout=30)


async def test_a_lease_is_cut_to_what_it_was_made_for_and_no_shorter(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    await desk.claim(thread, "A")
    await desk.redis.pexpire(keys.lease(thread), SIX_HOURS_MS)
    assert await desk.mailbox("B").claim(thread, desk.settings) == Busy(desk.settings.lease_ms)
    assert 0 < await desk.redis.pttl(keys.lease(thread)) <= desk.settings.lease_ms
    await desk.redis.pexpire(keys.lease(thread), 7)
    outcome = await desk.mailbox("B").claim(thread, desk.settings)
    assert not isinstance(outcome, Busy) or outcome.milliseconds <= 7


async def test_a_dead_migration_held_the_state_for_hours_after_the_clock_went_back(
    store: Store,
) -> None:
    redis = store.redis
    await redis.set(keys.state_lock(), "of the dead", px=SIX_HOURS_MS)
    async with exclusive(redis) as ours:
        assert not ours
    assert 0 < await redis.pttl(keys.state_lock()) <= HELD_MS
    assert await redis.get(keys.state_lock()) == b"of the dead"
    await redis.delete(keys.state_lock())
