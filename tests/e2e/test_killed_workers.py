"""kill -9 of workers in the middle of turns with tools: nothing lost, nothing twice, order kept."""

from __future__ import annotations

from tests.e2e.campaign import campaign
from tests.support.stack import running_stack


async def test_killed_workers_lose_and_repeat_nothing() -> None:
    async with running_stack(
        workers=2, ENGINE_LEASE_MS="600", ENGINE_MAX_ATTEMPTS="50", ENGINE_MAX_INBOX="1000"
    ) as stack:
        conversations = await campaign(stack, seed=1, threads=4, messages=8, kills=6)
        assert sum(c.reconnects for c in conversations) > 10
