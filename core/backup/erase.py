"""Erases a user: every key, also what a running turn would still write, and the traces on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import ResponseError, WatchError

from core.backup.export import metas_of
from core.backup.snapshot import scan
from core.conversations.inbox import BELL_SEPARATOR, Bus
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient

log = logging.getLogger(__name__)

Disk = Literal["rewritten", "not_allowed", "no_log"]
"""What became of the server's append-only file, in which erased values still stand."""

STOP_SECONDS = 10.0
"""How long running turns may take to end; a stop reaches them within one."""

FENCE_AHEAD = 1_000_000
FENCE_SECONDS = 3600
POLL = 0.05
REWRITE_SECONDS = 600.0
MAX_PASSES = 10


@dataclass(frozen=True, slots=True)
class Erased:
    """What was there."""

    threads: int
    keys: int
    disk: Disk


async def erase_user(store: Store, user_id: str) -> Erased:
    """Erase everything but credentials, which must have been revoked before. Safe to repeat.

    Raises StoreError, RedisError.
    """
    threads = await _threads(store, user_id)
    await _stop(store, threads)
    for thread_id in await _held(store.redis, threads):
        await _fence_off(store.redis, thread_id)
    erased = 0
    for _ in range(MAX_PASSES):
        count = await _unlink(store, user_id, threads)
        erased += count
        if count == 0:
            break
    await _forget_in_lists(store.redis, threads)
    await store.retry(lambda: store.redis.delete(keys.erasing(user_id)))
    return Erased(len(threads), erased, await rewrite_log(store.redis))


async def _threads(store: Store, user_id: str) -> set[str]:
    """The user's conversations, noted down, to be found again after a crash."""
    name, redis = keys.erasing(user_id), store.redis
    if found := await metas_of(store, user_id):
        await store.retry(lambda: redis.sadd(name, *found))
    noted = await store.retry(lambda: redis.smembers(name))
    return {thread_id.decode() for thread_id in noted}


async def _stop(store: Store, threads: Collection[str]) -> None:
    """Nothing more gets in, what waits is gone, what runs is asked to stop; wait for that."""
    bus, redis = Bus(store), store.redis
    for thread_id in threads:
        name = keys.control(thread_id)
        await store.retry(
            lambda thread_id=thread_id: redis.unlink(keys.meta(thread_id), keys.inbox(thread_id))
        )
        run = await store.retry(lambda name=name: redis.hget(name, "run"))
        if run is not None:
            await bus.cancel(run.decode())
    waited = 0.0
    while waited < STOP_SECONDS and await _held(redis, threads):
        await asyncio.sleep(POLL)
        waited += POLL


async def _held(redis: RedisClient, threads: Collection[str]) -> list[str]:
    """Conversations that a worker holds."""
    async with redis.pipeline(transaction=False) as pipe:
        for thread_id in threads:
            pipe.exists(keys.lease(thread_id))
        leased: list[int] = await pipe.execute()
    return [thread_id for thread_id, held in zip(threads, leased, strict=True) if held]


async def _fence_off(redis: RedisClient, thread_id: str) -> None:
    """A turn that does not stop may write no more: the fence stays behind, without the rest."""
    log.warning("the turn of conversation %s does not stop; it is fenced off", thread_id)
    name = keys.control(thread_id)
    epoch = await redis.hget(name, "ep")
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(name, keys.lease(thread_id))
        pipe.hset(name, "ep", str(int(epoch or 0) + FENCE_AHEAD))
        pipe.expire(name, FENCE_SECONDS)
        await pipe.execute()


async def _unlink(store: Store, user_id: str, threads: Collection[str]) -> int:
    """Remove all keys of the user and the threads; how many there were.

    What is left of deleted conversations goes too: nobody knows any more whose they were.
    """
    count = 0
    async for batch in scan(store, keys.everything()):
        theirs = [name for name in batch if _is_theirs(name, user_id, threads)]
        names = [name for name in theirs if not await _is_fence(store.redis, name)]
        names += await _orphans(store.redis, set(batch) - set(theirs))
        if names:
            count += int(await store.retry(lambda names=names: store.redis.unlink(*names)))
    return count


def _is_theirs(name: str, user_id: str, threads: Collection[str]) -> bool:
    if apart := keys.user_and_part(name):
        return apart[0] == user_id and name != keys.erasing(user_id)
    apart = keys.thread_and_part(name)
    return apart is not None and apart[0] in threads


async def _orphans(redis: RedisClient, names: Collection[str]) -> list[str]:
    """Keys of conversations that are no more."""
    of_threads = [(name, apart[0]) for name in names if (apart := keys.thread_and_part(name))]
    async with redis.pipeline(transaction=False) as pipe:
        for _, thread_id in of_threads:
            pipe.exists(keys.meta(thread_id))
        alive: list[int] = await pipe.execute()
    dead = [name for (name, _), exists in zip(of_threads, alive, strict=True) if not exists]
    return [name for name in dead if not await _is_fence(redis, name)]


async def _is_fence(redis: RedisClient, name: str) -> bool:
    """Whether a control hash holds nothing but the fence that keeps a stale turn out."""
    apart = keys.thread_and_part(name)
    if apart is None or name != keys.control(apart[0]):
        return False
    row = await redis.hgetall(name)
    return row.keys() == {b"ep"} and int(row[b"ep"]) >= FENCE_AHEAD


# ---- what stands in lists of the installation


async def _forget_in_lists(redis: RedisClient, threads: Collection[str]) -> None:
    """Work, rings and given-up messages of the conversations."""
    if threads:
        await redis.hdel(keys.pending(), *threads)
    rings = await redis.lrange(keys.doorbell(), 0, -1)
    for ring in set(rings):
        if ring.decode().partition(BELL_SEPARATOR)[0] in threads:
            await redis.lrem(keys.doorbell(), 0, ring)
    while not await _sift_dead_letters(redis, threads):
        log.debug("a message was given up meanwhile; looking again")


async def _sift_dead_letters(redis: RedisClient, threads: Collection[str]) -> bool:
    """Write the stream anew without theirs: XDEL only marks an entry, its text stays on disk.

    False when it changed meanwhile.
    """
    name = keys.dead_letters()
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(name)
        rows = await pipe.xrange(name)
        kept = [row for row in rows if row[1].get(b"thread", b"").decode() not in threads]
        if len(kept) == len(rows):
            return True
        pipe.multi()
        pipe.delete(name)
        for entry_id, fields in kept:
            pipe.xadd(name, fields, id=entry_id)
        try:
            await pipe.execute()
        except WatchError:
            return False
    return True


# ---- the disk


async def rewrite_log(redis: RedisClient) -> Disk:
    """Let the server write its append-only file anew, without what was erased; wait for it."""
    if not (await _persistence(redis)).get("aof_enabled"):
        return "no_log"
    # One that runs already began before the erasing.
    for _ in range(2):
        await _rewritten(redis)
        try:
            await redis.bgrewriteaof()
        except ResponseError as error:
            if "already in progress" in str(error):
                continue
            log.warning("the server does not rewrite its log: %s", error)
            return "not_allowed"
        break
    return "rewritten" if await _rewritten(redis) else "not_allowed"


async def _rewritten(redis: RedisClient) -> bool:
    """Wait for a running rewrite; whether the last one went well."""
    waited = 0.0
    while waited < REWRITE_SECONDS:
        about = await _persistence(redis)
        if not about.get("aof_rewrite_in_progress") and not about.get("aof_rewrite_scheduled"):
            return about.get("aof_last_bgrewrite_status", "ok") == "ok"
        await asyncio.sleep(POLL)
        waited += POLL
    return False


async def _persistence(redis: RedisClient) -> dict[str, Any]:
    return await redis.info("persistence")
