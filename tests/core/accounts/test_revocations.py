"""Revocation reaches every process within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key, revoke_key
from core.accounts.credentials import digest
from core.accounts.directory import Directory
from core.accounts.revocations import Revocations
from core.accounts.sessions import create_session, revoke_session
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient
from tests.support.waiting import wait_until


@pytest.fixture
async def others(store: Store) -> AsyncGenerator[Revocations]:
    """What another process on the same Redis hears."""
    heard = Revocations(store.redis)
    async with heard.running():
        yield heard


async def test_every_process_forgets_at_once(
    store: Store, directory: Directory, others: Revocations
) -> None:
    redis, neighbour = store.redis, Directory(store, others)
    token = await create_session(redis, FIRST_ACCOUNT, days=30)
    for known in (directory, neighbour):
        assert await known.session(token, 30)
    start = time.monotonic()
    await revoke_session(redis, FIRST_ACCOUNT, digest(token))
    for known in (directory, neighbour):
        while await known.session(token, 30):
            assert time.monotonic() - start < 1
            await asyncio.sleep(0.005)


async def test_waiting_streams_hear_of_it(redis: RedisClient, others: Revocations) -> None:
    key_id, secret = await create_key(redis, FIRST_ACCOUNT, "k", "chat")
    _, other = await create_key(redis, FIRST_ACCOUNT, "other", "chat")
    watch, keep = others.watch(digest(secret)), digest(other)
    with watch as ended, others.watch(keep) as not_ended:
        assert not ended.is_set()
        await revoke_key(redis, FIRST_ACCOUNT, key_id)
        await asyncio.wait_for(ended.wait(), 1)
        assert not not_ended.is_set()
    with others.watch(digest(secret)) as late:
        assert late.is_set()


async def test_junk_on_the_channel_makes_nobody_deaf(
    redis: RedisClient, others: Revocations
) -> None:
    """One byte ended the listener without a word; revocations of others then took seconds."""
    key_id, secret = await create_key(redis, FIRST_ACCOUNT, "k", "chat")
    with others.watch(digest(secret)) as ended:
        for junk in (b"\xff", b"", b"\xe2\x80"):
            await redis.publish(keys.revocations(), junk)
        await revoke_key(redis, FIRST_ACCOUNT, key_id)
        await asyncio.wait_for(ended.wait(), 1)


async def test_a_lost_announcement_is_found_by_looking(redis: RedisClient) -> None:
    """Sessions that expire are never announced; a new connection looks at all that are watched."""
    revocations = Revocations(redis)
    _, alive = await create_key(redis, FIRST_ACCOUNT, "k", "chat")
    with revocations.watch("gone") as gone, revocations.watch(digest(alive)) as kept:
        async with revocations.running():
            await asyncio.wait_for(gone.wait(), 1)
            assert not kept.is_set()


async def test_it_listens_again_after_the_connection_broke(
    revocations: Revocations, redis: RedisClient
) -> None:
    key_id, secret = await create_key(redis, FIRST_ACCOUNT, "k", "chat")
    with revocations.watch(digest(secret)) as ended:
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await revoke_key(redis, FIRST_ACCOUNT, key_id)
        await asyncio.wait_for(ended.wait(), 2)


async def test_watchers_leave_nothing_behind(redis: RedisClient) -> None:
    revocations = Revocations(redis)
    with revocations.watch("a") as first, revocations.watch("a") as second:
        revocations.end("a")
        assert first.is_set()
        assert second.is_set()
    assert vars(revocations)["_watchers"] == {}


async def test_a_read_that_began_before_the_revocation_does_not_win(
    directory: Directory, revocations: Revocations, redis: RedisClient
) -> None:
    token = await create_session(redis, FIRST_ACCOUNT, days=30)
    revocations.end(digest(token))  # announced; our read still sees the old hash
    assert await directory.session(token, 30) is None


async def test_cached_look_ups_ask_redis_nothing(directory: Directory, redis: RedisClient) -> None:
    token = await create_session(redis, FIRST_ACCOUNT, days=30)
    await wait_until(lambda: directory.session(token, 30))

    async def commands() -> int:
        return int((await redis.info("stats"))["total_commands_processed"])

    before = await commands()
    for _ in range(100):
        assert await directory.session(token, 30)
    assert await commands() - before < 50
