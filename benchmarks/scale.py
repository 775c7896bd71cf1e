"""More workers on one server, and what a busy user costs the quiet ones."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.latency import TOKENS, p95
from benchmarks.load import LOSSES
from benchmarks.members import member_key
from benchmarks.subjects import OurChat, Ours, Sample
from core.store.redis import RedisClient

BUSY_CHATS = 60
"""Conversations that the busy user keeps going: about twice ``engine.per_user``."""

QUIET_USERS = 5
BETWEEN = 0.4
"""Seconds between the messages of a quiet user, on average."""

SLOW_MS = 50
"""Between two tokens of the model for the busy user's slow turns: the turns hold their places, and
the processors have time."""


@dataclass(frozen=True, slots=True)
class Fairness:
    """What quiet users waited, in milliseconds, and what the busy user got meanwhile."""

    beside: str
    turns: int
    first: float
    first_p95: float
    total: float
    total_p95: float
    lost: int
    busy_per_second: float


@dataclass
class Tally:
    """What came of some turns."""

    samples: list[Sample] = field(default_factory=list[Sample])
    lost: int = 0

    async def turn(self, chat: OurChat, pause_ms: int = 0) -> bool:
        """One turn; False when it was lost."""
        try:
            self.samples.append(await chat.turn(TOKENS, pause_ms))
        except LOSSES as error:
            print(f"lost: {error!r}"[:600])
            self.lost += 1
            return False
        return True


async def fairness(subject: Ours, redis: RedisClient, seconds: float) -> list[Fairness]:
    """Quiet users alone, beside a busy one with a slow model, and beside one with a fast one."""
    busy_key = await member_key(redis, "busy")
    quiet_keys = [await member_key(redis, f"quiet{n}") for n in range(QUIET_USERS)]
    found: list[Fairness] = []
    for beside, pause in (
        ("nobody", None),
        (f"{BUSY_CHATS} conversations, {1000 // SLOW_MS} tokens/s each", SLOW_MS),
        (f"{BUSY_CHATS} conversations as fast as they go", 0),
    ):
        quiet = [await subject.open(key) for key in quiet_keys]
        async with _busy(subject, busy_key, pause) as busy:
            before, started = len(busy.samples), time.perf_counter()
            calm = await _now_and_then(quiet, seconds)
            rate = (len(busy.samples) - before) / (time.perf_counter() - started)
        found.append(_figures(beside, calm, busy.lost, rate))
        for chat in quiet:
            chat.close()
    return found


def _figures(beside: str, calm: Tally, lost: int, rate: float) -> Fairness:
    firsts = [1e3 * sample.first for sample in calm.samples] or [0.0]
    totals = [1e3 * sample.total for sample in calm.samples] or [0.0]
    return Fairness(
        beside,
        len(calm.samples),
        median(firsts),
        p95(firsts),
        median(totals),
        p95(totals),
        calm.lost + lost,
        rate,
    )


@asynccontextmanager
async def _busy(subject: Ours, key: str, pause: int | None) -> AsyncGenerator[Tally]:
    """Conversations that never rest; None: there are none."""
    tally, stop = Tally(), asyncio.Event()
    chats = [await subject.open(key) for _ in range(BUSY_CHATS)] if pause is not None else []

    async def talk(chat: OurChat) -> None:
        while not stop.is_set() and await tally.turn(chat, pause or 0):
            pass

    tasks = [asyncio.create_task(talk(chat)) for chat in chats]
    try:
        if tasks:
            await asyncio.sleep(1)  # until all of them are under way
        yield tally
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        for chat in chats:
            chat.close()


async def _now_and_then(chats: Sequence[OurChat], seconds: float) -> Tally:
    """Each sends a message now and then."""
    tally, end = Tally(), time.perf_counter() + seconds
    rng = random.Random(1)  # noqa: S311 - the same pauses each time

    async def talk(chat: OurChat) -> None:
        while time.perf_counter() < end:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * BETWEEN)
            if not await tally.turn(chat):
                return

    await asyncio.gather(*(talk(chat) for chat in chats))
    return tally
