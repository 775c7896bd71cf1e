"""When nothing happens: the start, the idle cost, and a store full of conversations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.machine import cpu_seconds, memory, role
from benchmarks.subjects import Ours
from core.accounts.accounts import FIRST_ACCOUNT
from core.store import keys
from core.store.redis import RedisClient

CALM = 6.0
"""Seconds after the last turn until everything that runs behind it has ended."""

AT_ONCE = 200
"""Conversations copied in one round trip."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the command until ready, and until a first message was answered."""

    ready: float
    answered: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Mebibytes, percent of one core, and commands that Redis ran in a second."""

    rss: float
    pss: float
    cpu: float
    commands: float
    by_process: dict[str, tuple[float, float]]
    """Name → PSS in MiB, percent of a core."""


@dataclass(frozen=True, slots=True)
class Stored:
    """With so many conversations stored: milliseconds added to a turn, and of CPU; at rest percent
    of a core, and commands that Redis ran in a second; used_memory in MiB."""

    count: int
    first: float
    total: float
    cpu: float
    idle_cpu: float
    idle_commands: float
    server: float


async def cold_start(subject: Ours) -> Start:
    """Start on an existing home and answer one message."""
    ready = await subject.start()
    chat = await subject.open()
    sample = await chat.turn(1)
    chat.close()
    return Start(ready, ready + sample.total)


async def idle(subject: Ours, redis: RedisClient, seconds: float) -> Idle:
    """Watch for some time without asking for anything."""
    await asyncio.sleep(CALM)
    pids = subject.pids()
    before = {pid: cpu_seconds([pid]) for pid in pids}
    commands = (await redis.info("stats"))["total_commands_processed"]
    await asyncio.sleep(seconds)
    commands = (await redis.info("stats"))["total_commands_processed"] - commands - 1
    cpu = {pid: 100 * (cpu_seconds([pid]) - before[pid]) / seconds for pid in pids}
    held = memory(pids)
    return Idle(
        held.rss,
        held.pss,
        sum(cpu.values()),
        commands / seconds,
        {role(pid): (memory([pid]).pss, cpu[pid]) for pid in pids},
    )


async def used_memory(redis: RedisClient) -> float:
    """MiB that the server uses."""
    return (await redis.info("memory"))["used_memory"] / 2**20


async def store_threads(subject: Ours, redis: RedisClient, have: int, count: int) -> None:
    """Fill the store up to ``count`` copies of one conversation of a few turns."""
    chat = await subject.open()
    for _ in range(3):
        await chat.turn(100)
    chat.close()
    await asyncio.sleep(1)
    names = [name async for name in redis.scan_iter(match=keys.all_of_thread(chat.thread_id))]
    dumps = [(name.decode(), await redis.dump(name) or b"") for name in names]
    for start in range(have, count, AT_ONCE):
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + AT_ONCE, count)):
                copy = f"t_stored{number}"
                for name, dump in dumps:
                    pipe.restore(name.replace(chat.thread_id, copy), 0, dump, replace=True)
                pipe.zadd(keys.user_threads(FIRST_ACCOUNT), {copy: number + 1})
            await pipe.execute()
    await settled(redis)


async def settled(redis: RedisClient) -> None:
    """Wait until the server has rewritten its log, which so many writes make it do."""
    while True:
        about = await redis.info("persistence")
        if not about["aof_rewrite_in_progress"] and not about["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(0.2)
