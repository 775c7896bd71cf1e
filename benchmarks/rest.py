"""When nothing happens: the start, the idle cost, and a store full of conversations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from benchmarks.machine import cpu_seconds, memory, role
from benchmarks.subjects import Ours
from core.accounts.accounts import FIRST_ACCOUNT
from core.store import keys

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


async def idle(subject: Ours, redis: Redis, seconds: float) -> Idle:
    """Watch for some time without asking for anything."""
    client: Any = redis
    await asyncio.sleep(CALM)
    pids = subject.pids()
    before = {pid: cpu_seconds([pid]) for pid in pids}
    commands = (await client.info("stats"))["total_commands_processed"]
    await asyncio.sleep(seconds)
    commands = (await client.info("stats"))["total_commands_processed"] - commands - 1
    cpu = {pid: 100 * (cpu_seconds([pid]) - before[pid]) / seconds for pid in pids}
    held = memory(pids)
    return Idle(
        held.rss,
        held.pss,
        sum(cpu.values()),
        commands / seconds,
        {role(pid): (memory([pid]).pss, cpu[pid]) for pid in pids},
    )


async def used_memory(redis: Redis) -> float:
    """MiB that the server uses."""
    client: Any = redis
    return (await client.info("memory"))["used_memory"] / 2**20


async def store_threads(subject: Ours, redis: Redis, have: int, count: int) -> None:
    """Fill the store up to ``count`` copies of one conversation of a few turns."""
    client: Any = redis
    chat = await subject.open()
    for _ in range(3):
        await chat.turn(100)
    chat.close()
    await asyncio.sleep(1)
    names = [name async for name in client.scan_iter(match=keys.all_of_thread(chat.thread_id))]
    dumps = [(name.decode(), await client.dump(name)) for name in names]
    for start in range(have, count, AT_ONCE):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + AT_ONCE, count)):
                copy = f"t_stored{number}"
                for name, dump in dumps:
                    pipe.restore(name.replace(chat.thread_id, copy), 0, dump, replace=True)
                pipe.zadd(keys.user_threads(FIRST_ACCOUNT), {copy: number + 1})
            await pipe.execute()
    await settled(redis)


async def settled(redis: Redis) -> None:
    """Wait until the server has rewritten its log, which so many writes make it do."""
    client: Any = redis
    while True:
        about = await client.info("persistence")
        if not about["aof_rewrite_in_progress"] and not about["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(0.2)
