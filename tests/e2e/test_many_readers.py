"""More event streams than a process may have files open by default."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager

from benchmarks.crowd import Crowd, Plan, Seat
from benchmarks.subjects import address
from tests.support.stack import running_stack
from tests.support.waiting import wait_until

FEW, READERS = 256, 300


@contextmanager
def few_files() -> Generator[None]:
    """Processes that are started here begin with a low soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_low_soft_limit_of_open_files_limits_no_readers() -> None:
    async with AsyncExitStack() as running:
        with few_files():
            stack = await running.enter_async_context(running_stack())
        async with stack.client() as client:
            thread = (await client.post("/api/threads", json={})).json()["id"]
            seats = [Seat(stack.key, f"/api/threads/{thread}/events")] * READERS
            crowd = Crowd(Plan(*address(stack.url), seats))
            await crowd.connect()
            sent = await client.post(f"/api/threads/{thread}/messages", json={"text": "bench:20"})
            assert sent.status_code == 202
            await wait_until(lambda: crowd.report().got[0][0] > 3, timeout=20)
            await wait_until(lambda: len(set(crowd.report().got)) == 1, timeout=20)
            assert crowd.report().cut == 0
            crowd.close()
