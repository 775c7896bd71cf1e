"""What is known of a model is kept, and refusals are forgotten after a day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.models.servers.capabilities import (
    DEFAULT,
    KEEP_SECONDS,
    Capabilities,
    decode,
    forget_old_refusals,
    key_of,
    learned,
    load,
    save,
)
from core.models.servers.discovery import Server
from core.models.servers.servers import Servers, Target
from core.models.wire.transport import open_transport
from core.store.redis import RedisClient

KNOWN = Capabilities(tools=False, refused_parameters=("temperature",), context_window=4096)


async def test_round_trip_with_a_time_to_live(redis: RedisClient) -> None:
    known = learned(KNOWN, reasoning=True)
    await save(redis, "http://a/v1", "m", known)
    assert await load(redis, "http://a/v1", "m") == known
    assert await load(redis, "http://a/v1", "other") == DEFAULT
    assert await load(redis, "http://b/v1", "m") == DEFAULT
    assert 0 < await redis.ttl(key_of("http://a/v1", "m")) <= KEEP_SECONDS


def test_unreadable_or_newer_values_do_no_harm() -> None:
    assert decode(b"{") == DEFAULT
    assert decode(b"[]") == DEFAULT
    assert decode(b'{"tools": true, "of_a_newer_version": 1}') == Capabilities(tools=True)


def test_a_refusal_met_in_passing_is_tried_again_after_a_day() -> None:
    now = datetime.now(UTC)
    known = replace(KNOWN, source="learned", at=now.isoformat())
    assert forget_old_refusals(known, now + timedelta(hours=23)) == known
    later = forget_old_refusals(known, now + timedelta(hours=25))
    assert (later.tools, later.refused_parameters, later.context_window) == (None, (), 4096)
    probed = replace(known, source="probed")
    assert forget_old_refusals(probed, now + timedelta(days=20)) == probed


async def nothing_found() -> tuple[Server, ...]:
    return ()


async def test_what_a_test_of_the_connection_found_was_overwritten_with_what_was_read_before_it(
    redis: RedisClient,
) -> None:
    target = Target("http://a/v1", "m", "")
    async with open_transport() as transport:
        servers = Servers(redis, transport, nothing_found)
        await servers.learn(target, replace(KNOWN, context_limit=2048))
        change = servers.change(target, lambda known: replace(known, reasoning=True))
        changing = asyncio.create_task(change)
        await asyncio.sleep(0)  # now it reads
        await servers.learn(target, replace(DEFAULT, context_window=32_768))
        await changing
        known = await servers.known(target)
    assert (known.context_window, known.context_limit) == (32_768, None)
    assert await load(redis, "http://a/v1", "m") == known
