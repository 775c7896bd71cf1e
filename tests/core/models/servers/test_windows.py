"""The real context of a model is learnt from refusals, kept for all, and forgotten in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiohttp import web

from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.models.servers import capabilities
from core.models.servers.capabilities import Capabilities, forget_old_refusals
from core.settings.groups import Settings
from core.store.redis import RedisClient
from tests.support.gateways import ask, opened
from tests.support.quirks_server import ModelServer, serve
from tests.support.strict_server import StrictServer
from tests.support.waiting import wait_until

At = Callable[..., Settings]
LONG = [{"role": "user", "content": "word " * 6000}]
"""6,000 tokens."""


@asynccontextmanager
async def served(server: StrictServer) -> AsyncGenerator[ModelServer]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/chat/completions"):
            return await server.chat(orjson.loads(await request.read()), request)
        return server.about(request)

    async with serve(handle) as running:
        yield running


async def refused(gateway: Gateway, settings: Settings) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(gateway, settings, LONG)
    assert caught.value.kind == "context_overflow"
    return caught.value


async def becomes(gateway: Gateway, settings: Settings, size: int) -> None:
    """Once the server has been asked beside the calls."""

    async def is_so() -> bool:
        return await gateway.context_window(settings) == size

    await wait_until(is_so)


@pytest.mark.parametrize("says", [None, 32_768])
async def test_a_limit_named_in_a_refusal_is_known_to_all(
    gateway: Gateway, at: At, redis: RedisClient, says: int | None
) -> None:
    server = StrictServer(4096, says=says)
    async with served(server) as running:
        settings = at(running.base_url)
        assert await gateway.context_window(settings) == (says or 8192)
        error = await refused(gateway, settings)
        assert error.prompt_tokens == server.size({"messages": LONG})
        assert await gateway.context_window(settings) == 4096
        async with opened(redis, settings) as other:
            assert await other.context_window(settings) == 4096
            # What the server says of itself has not changed: the refusal knows better.
            await other.context_window(settings)
            assert await other.context_window(settings) == 4096
        generous = at(running.base_url, context_window=20_000)
        assert await gateway.context_window(generous) == 4096
        assert await gateway.context_window(at(running.base_url, context_window=3000)) == 3000


async def test_a_setting_that_is_too_large_is_refused_once(gateway: Gateway, at: At) -> None:
    """What the server says and what it takes lie on both sides of what it named."""
    async with served(StrictServer(4096, says=2048)) as running:
        settings = at(running.base_url, context_window=20_000)
        await refused(gateway, settings)
        assert await gateway.context_window(settings) == 4096


async def test_a_model_loaded_anew_with_more_is_not_stuck(
    gateway: Gateway, at: At, redis: RedisClient
) -> None:
    """The size was asked once and believed for a month."""
    server = StrictServer(4096, says=4096)
    async with served(server) as running:
        settings = at(running.base_url)
        assert await gateway.context_window(settings) == 4096
        await refused(gateway, settings)
        server.context = server.says = 16_384
        # Another worker, or this one ten minutes later, asks beside its first call.
        async with opened(redis, settings) as other:
            assert await other.context_window(settings) == 4096
            await becomes(other, settings, 16_384)
            assert (await ask(other, settings, LONG)).text == "An answer."


async def test_a_test_of_the_connection_forgets_the_limit(gateway: Gateway, at: At) -> None:
    server = StrictServer(4096, says=32_768)
    async with served(server) as running:
        settings = at(running.base_url)
        await refused(gateway, settings)
        assert await gateway.context_window(settings) == 4096
        server.context = 32_768
        report = await gateway.probe(settings.model)
        assert report.refused is None
        assert await gateway.context_window(settings) == 32_768


async def test_a_longer_prompt_that_was_taken_ends_the_limit(gateway: Gateway, at: At) -> None:
    server = StrictServer(4096)
    async with served(server) as running:
        settings = at(running.base_url)
        await refused(gateway, settings)
        assert await gateway.context_window(settings) == 4096
        server.context = 32_768
        await ask(gateway, settings, LONG)
        assert await gateway.context_window(settings) == 8192


async def test_a_limit_that_nobody_named_is_learnt_but_never_tiny(
    gateway: Gateway, at: At, redis: RedisClient
) -> None:
    async with served(StrictServer(4096, "unnamed", says=32_768)) as running:
        settings = at(running.base_url)
        assert await gateway.context_window(settings) == 32_768
        await refused(gateway, settings)
        assert await gateway.context_window(settings) == 32_768
        await gateway.context_refused(settings, 4500)
        async with opened(redis, settings) as other:
            assert await other.context_window(settings) == 4500
        await gateway.context_refused(settings, 6000)
        assert await gateway.context_window(settings) == 4500
        await gateway.context_refused(settings, 100)
        assert await gateway.context_window(settings) == 2048


async def test_a_refusal_that_contradicts_nothing_changes_nothing(
    gateway: Gateway, at: At, redis: RedisClient
) -> None:
    """The request was longer than its estimate; the context is as large as it was."""
    async with served(StrictServer(4096, says=4096)) as running:
        settings = at(running.base_url)
        assert await gateway.context_window(settings) == 4096
        await refused(gateway, settings)
        known = await capabilities.load(redis, running.base_url, "m")
        assert (known.context_window, known.context_limit) == (4096, None)


def test_a_limit_is_believed_for_a_day() -> None:
    now = datetime.now(UTC)
    known = Capabilities(
        tools=True,
        context_window=32_768,
        context_limit=4096,
        context_limit_at=now.isoformat(),
        source="probed",
    )
    assert forget_old_refusals(known, now + timedelta(hours=23)) == known
    later = forget_old_refusals(known, now + timedelta(hours=25))
    assert later == replace(known, context_limit=None, context_limit_at="")


async def test_what_is_learnt_does_not_undo_what_another_process_has_measured(
    gateway: Gateway, at: At, redis: RedisClient
) -> None:
    """A worker wrote its older knowledge back over the result of a test of the connection."""
    server = StrictServer(4096, says=32_768)
    async with served(server) as running:
        settings = at(running.base_url)
        await gateway.context_window(settings)
        async with opened(redis, settings) as web_process:
            await web_process.probe(settings.model)
        await refused(gateway, settings)
        known = await capabilities.load(redis, running.base_url, "m")
        assert (known.tools, known.streaming, known.context_limit) == (False, True, 4096)
