"""Revocation reaches every process and every open stream within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import httpx
import pytest
from redis.asyncio import Redis

from api.auth import Auth
from api.middleware.cookies import COOKIE
from core.accounts.api_keys import create_key, revoke_key
from core.accounts.credentials import digest
from core.accounts.principal import OWNER
from core.accounts.revocations import Revocations
from core.accounts.sessions import create_session, revoke_session
from core.store.client import Store
from tests.api.web import Web, build, serving
from tests.support.waiting import wait_until


@pytest.fixture
async def neighbour(store: Store, web: Web) -> AsyncGenerator[Auth]:
    """Another process on the same Redis."""
    other = build(store, web.live.current)
    async with other.auth.running():
        yield other.auth


async def test_every_process_forgets_at_once(web: Web, neighbour: Auth, redis: Redis) -> None:
    token = await create_session(redis, OWNER, days=30)
    for auth in (web.auth, neighbour):
        assert await auth.directory.session(token, 30)
    start = time.monotonic()
    await revoke_session(redis, OWNER, digest(token))
    for auth in (web.auth, neighbour):
        while await auth.directory.session(token, 30):
            assert time.monotonic() - start < 1
            await asyncio.sleep(0.005)


async def test_waiting_streams_hear_of_it(web: Web, neighbour: Auth, redis: Redis) -> None:
    key_id, secret = await create_key(redis, OWNER, "k", "chat")
    _, other = await create_key(redis, OWNER, "other", "chat")
    watch, keep = neighbour.revocations.watch(digest(secret)), digest(other)
    with watch as ended, neighbour.revocations.watch(keep) as not_ended:
        assert not ended.is_set()
        await revoke_key(redis, OWNER, key_id)
        await asyncio.wait_for(ended.wait(), 1)
        assert not not_ended.is_set()
    with neighbour.revocations.watch(digest(secret)) as late:
        assert late.is_set()


async def test_an_open_stream_over_http_ends(web: Web, browser: httpx.AsyncClient) -> None:
    cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    async with serving(web) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/api/events"
        async with client.stream("GET", url, headers=cookie) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": open"
            start = time.monotonic()
            await revoke_session(web.store.redis, OWNER, digest(browser.cookies[COOKIE]))
            rest = [line async for line in lines if line]
            assert rest == ["event: signed_out"]
            assert time.monotonic() - start < 1


async def test_a_lost_announcement_is_found_by_looking(redis: Redis) -> None:
    """Sessions that expire are never announced; a new connection looks at all that are watched."""
    revocations = Revocations(redis)
    _, alive = await create_key(redis, OWNER, "k", "chat")
    with revocations.watch("gone") as gone, revocations.watch(digest(alive)) as kept:
        async with revocations.running():
            await asyncio.wait_for(gone.wait(), 1)
            assert not kept.is_set()


async def test_it_listens_again_after_the_connection_broke(web: Web, redis: Redis) -> None:
    key_id, secret = await create_key(redis, OWNER, "k", "chat")
    with web.auth.revocations.watch(digest(secret)) as ended:
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await revoke_key(redis, OWNER, key_id)
        await asyncio.wait_for(ended.wait(), 2)


async def test_watchers_leave_nothing_behind(redis: Redis) -> None:
    revocations = Revocations(redis)
    with revocations.watch("a") as first, revocations.watch("a") as second:
        revocations.end("a")
        assert first.is_set()
        assert second.is_set()
    assert vars(revocations)["_watchers"] == {}


async def test_a_read_that_began_before_the_revocation_does_not_win(web: Web, redis: Redis) -> None:
    token = await create_session(redis, OWNER, days=30)
    web.auth.revocations.end(digest(token))  # announced; our read still sees the old hash
    assert await web.auth.directory.session(token, 30) is None


async def test_cached_look_ups_ask_redis_nothing(web: Web, redis: Redis) -> None:
    token = await create_session(redis, OWNER, days=30)
    await wait_until(lambda: web.auth.directory.session(token, 30))

    async def commands() -> int:
        return int((await redis.info("stats"))["total_commands_processed"])

    before = await commands()
    for _ in range(100):
        assert await web.auth.directory.session(token, 30)
    assert await commands() - before < 50
