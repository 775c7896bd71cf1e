"""What an open event stream costs while nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from api.stream import respond
from tests.support.waiting import wait_until


async def test_an_open_stream_looked_for_a_shutdown_twice_a_second() -> None:
    release, sent = asyncio.Event(), list[Any]()

    async def frames() -> AsyncGenerator[bytes]:
        yield b"retry: 1\n\n"
        await release.wait()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    stream = asyncio.create_task(
        respond(frames())({"type": "http", "method": "GET"}, receive, send)
    )
    await wait_until(lambda: len(sent) >= 2)
    running = {getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()}
    assert "_shutdown_watcher" not in running
    release.set()
    await stream
    assert sent[-1]["more_body"] is False
