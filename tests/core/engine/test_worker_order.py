"""Who waits longest is served first."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.engine.mailbox import Turn
from core.engine.turn_journal import TurnJournal
from tests.support.desk import Desk
from tests.support.engines import working
from tests.support.waiting import wait_until


async def test_with_all_places_taken_the_newest_conversation_was_served_first(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    opened, begun = asyncio.Event(), list[str]()

    async def work(turn: Turn, _journal: TurnJournal) -> None:
        begun.append(turn.inbound.id)
        await opened.wait()

    names = [f"m{number}" for number in range(8)]
    threads = [await desk.thread(user=f"u{number}") for number in range(8)]
    async with working(redis_url, tmp_path, work, concurrency=1):
        for number, (thread, name) in enumerate(zip(threads, names, strict=True)):
            await desk.send(thread, name, user=f"u{number}")
            if number == 0:
                await wait_until(lambda: begun == ["m0"])
        opened.set()
        await wait_until(lambda: len(begun) == 8, timeout=20)
    assert begun == names
