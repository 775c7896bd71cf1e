"""A worker that answers questions and may die of one. A script: its argument is the URL of the
store."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.asks.answering import Ask, answering
from core.events import Json
from core.store.connection import connect
from core.store.opening import open_store


async def die(_argument: Json) -> Json:
    """The process is killed while it answers."""
    os.kill(os.getpid(), signal.SIGKILL)
    return None


async def work(url: str) -> None:
    """Answer until killed."""
    async with open_store(url) as store:
        blocking = connect(url, blocking=True)
        async with answering(store, blocking, (Ask("greet", die),), broken=sys.exit):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
