"""A conversation of a stateless client expires as a whole, and not while a turn runs in it."""

from __future__ import annotations

import pytest

from core.events import TextDelta
from core.store import keys
from tests.support.desk import Desk


async def test_an_ephemeral_thread_expires_as_a_whole_and_lives_while_it_runs(desk: Desk) -> None:
    thread = await desk.thread(ttl=100)
    await desk.send(thread)
    turn = await desk.claim(thread)
    await desk.mailbox().emit(turn, 1, [TextDelta("x")], desk.settings)
    for name in (keys.control(thread), keys.inbox(thread), keys.journal(thread), keys.meta(thread)):
        assert 0 < await desk.redis.ttl(name) <= 100, name
        await desk.redis.expire(name, 5)
    await desk.mailbox().renew(turn, desk.settings)
    for name in (keys.control(thread), keys.inbox(thread), keys.journal(thread), keys.meta(thread)):
        assert await desk.redis.ttl(name) > 5, name
    await desk.finish(turn)
    for name in await desk.redis.keys(f"*{thread}*"):
        assert 0 < await desk.redis.pttl(name) <= 100_000, name


@pytest.mark.parametrize("ends", [False, True])
async def test_every_key_of_an_ephemeral_thread_expires_with_it(desk: Desk, ends: bool) -> None:
    thread, redis = await desk.thread(ttl=100), desk.redis
    await desk.send(thread)
    turn = await desk.claim(thread)
    await desk.mailbox().emit(turn, 1, [TextDelta("x")], desk.settings)
    await redis.rpush(keys.transcript(thread), "x")
    for name in keys.lasting(thread):
        if not await redis.exists(name):
            await redis.hset(name, "x", "1")
        await redis.persist(name)
    if ends:
        await desk.finish(turn)
    else:
        await desk.mailbox().renew(turn, desk.settings)
    gone = {keys.inbox(thread), keys.calls(thread)} if ends else set[str]()
    found = {name: await redis.ttl(name) for name in keys.lasting(thread)}
    assert {name for name, ttl in found.items() if ttl == -2} == gone
    assert {name for name, ttl in found.items() if ttl == -1} == set()


async def test_a_lasting_thread_expires_in_no_part(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    await desk.mailbox().renew(turn, desk.settings)
    await desk.finish(turn)
    assert await desk.redis.exists(*keys.lasting(thread)) >= 3
    assert {await desk.redis.ttl(name) for name in keys.lasting(thread)} <= {-1, -2}
