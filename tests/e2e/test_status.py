"""Whether messages are answered, over HTTP: once, as a stream, and for those who watch over us."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from core.accounts.api_keys import create_key
from core.store.connection import connect
from core.telemetry.share import JUST_NOW
from tests.support.stack import USER, Received, Stack, events
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

STREAM = "/api/status/events"


async def code(client: httpx.AsyncClient, **query: str) -> str | None:
    """The trouble's code."""
    trouble = (await client.get("/api/status", params=query)).json()["trouble"]
    return None if trouble is None else str(trouble["code"])


async def test_a_full_store_is_known_without_a_message_and_at_once_when_asked(
    stack: Stack,
) -> None:
    redis: Any = connect(stack.server.url)
    async with stack.client() as client:
        assert await code(client) is None
        try:
            await redis.config_set("maxmemory", "1mb")
            # An answer may be as old as JUST_NOW (core/telemetry/share.py).
            await wait_until(lambda: _full(client), timeout=2 * JUST_NOW)
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert "memory" in ready.json()["parts"]["redis"]
            assert ready.json()["trouble"]["code"] == "store_full"
        finally:
            await redis.config_set("maxmemory", "0")
        await wait_until(lambda: _well(client), timeout=20)
        assert (await client.get("/readyz")).json()["trouble"] is None
    await redis.aclose()


async def _full(client: httpx.AsyncClient) -> bool:
    return await code(client, now="true") == "store_full"


async def _well(client: httpx.AsyncClient) -> bool:
    return await code(client) is None


async def test_the_stream_tells_the_state_and_then_each_change_once(stack: Stack) -> None:
    redis: Any = connect(stack.server.url)
    got: list[str | None] = []

    async def listen(client: httpx.AsyncClient) -> None:
        async for event in events(client, STREAM, until_idle=False):
            assert event.type == "status"
            trouble = event.data["trouble"]
            got.append(trouble and trouble["code"])

    async with stack.client() as client:
        listening = asyncio.create_task(listen(client))
        await wait_until(lambda: len(got) == 1, timeout=20)
        try:
            await redis.config_set("maxmemory", "1mb")
            await wait_until(lambda: len(got) == 2, timeout=30)
        finally:
            await redis.config_set("maxmemory", "0")
        await wait_until(lambda: len(got) == 3, timeout=30)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert got == [None, "store_full", None]
    await redis.aclose()


async def test_the_stream_ends_with_the_key_that_opened_it(stack: Stack) -> None:
    redis = connect(stack.server.url)
    made, secret = await create_key(redis, USER, "short", "chat")
    got: list[Received] = []

    async def listen() -> None:
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
            async for event in events(client, STREAM, until_idle=False):
                got.append(event)

    listening = asyncio.create_task(listen())
    await wait_until(lambda: got, timeout=20)
    async with stack.client() as client:
        assert (await client.delete(f"/api/keys/{made}")).status_code == 204
    await asyncio.wait_for(listening, 20)
    await redis.aclose()
