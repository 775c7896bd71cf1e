"""The right to work on the state as a whole, held by one process at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError, WatchError

from core.store import keys
from core.store.redis import RedisClient

HELD_MS = 30_000
"""After so long without a sign of life another process may take over."""

RENEW = 5.0


@asynccontextmanager
async def exclusive(redis: RedisClient) -> AsyncGenerator[bool]:
    """Whether we hold the state until the end of the block; False: another process does."""
    token = secrets.token_hex(8).encode()
    won = bool(await redis.set(keys.state_lock(), token, nx=True, px=HELD_MS))
    if not won and await redis.pttl(keys.state_lock()) > HELD_MS:
        # The clock of Redis has gone back, and the holder may be dead; one that lives renews it.
        await redis.pexpire(keys.state_lock(), HELD_MS)
    renewal = asyncio.create_task(_renew(redis, token)) if won else None
    try:
        yield won
    finally:
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await _if_ours(redis, token, 0)


async def _renew(redis: RedisClient, token: bytes) -> None:
    while True:
        await asyncio.sleep(RENEW)
        await _if_ours(redis, token, HELD_MS)


async def _if_ours(redis: RedisClient, token: bytes, milliseconds: int) -> None:
    """Hold on for so long (0: let go), unless another process has it. An outage changes nothing."""
    name = keys.state_lock()
    try:
        async with redis.pipeline(transaction=True) as pipe:
            await pipe.watch(name)
            if await pipe.get(name) == token:
                pipe.multi()
                pipe.pexpire(name, milliseconds)
                await pipe.execute()
    except (WatchError, RedisError, OSError):
        return


async def running_processes(redis: RedisClient) -> int:
    """How many web and worker processes use this store: each follows changed settings."""
    answer = await redis.pubsub_numsub(keys.settings_changed())
    return int(answer[0][1]) if answer else 0
