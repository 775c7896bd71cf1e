"""The cloud fallback: off by default, before the first token only, labelled, within its budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from core.models import budget, usage
from core.models.errors import ModelError
from core.models.fallback import CloudFallback
from core.models.gateway import Gateway
from core.settings.groups import CloudSettings, Settings
from core.store import keys
from core.store.redis import RedisClient
from tests.support.gateways import ASK, WEATHER, ask, opened
from tests.support.quirks_server import (
    DONE,
    Handler,
    ModelServer,
    answer,
    chunk,
    refuse,
    say,
    serve,
    start_stream,
)

AWAY = "http://127.0.0.1:9/v1"
SECRET = "sk-cloudsecret123456"
Settle = Callable[..., Settings]


@pytest.fixture
async def gateway(redis: RedisClient, settings: Settings) -> AsyncGenerator[Gateway]:
    """A gateway that may ask the cloud."""
    async with opened(redis, settings, fallback=CloudFallback(redis)) as it:
        yield it


def cloud_at(server: ModelServer, **values: Any) -> CloudSettings:
    """The cloud, switched on."""
    given: dict[str, Any] = {
        "enabled": True,
        "base_url": server.base_url,
        "api_key": SecretStr(SECRET),
        "model": "big",
        **values,
    }
    return CloudSettings(**given)


async def hello(request: web.Request) -> web.StreamResponse:
    """A plain answer."""
    return await say(request, "Hello from above")


async def test_the_cloud_answers_with_a_label(
    gateway: Gateway, at: Settle, redis: RedisClient
) -> None:
    async with serve(hello) as cloud:
        result = await ask(gateway, at(AWAY, cloud=cloud_at(cloud)))
        await gateway.settle()
    assert result.text == "Hello from above"
    assert result.finish is not None
    assert (result.finish.model, result.finish.reason) == ("cloud:big", "stop")
    assert "this answer comes from the cloud: big" in result.notices[0].text
    assert cloud.seen[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert await budget.spent(redis, budget.today()) == 16
    assert await redis.ttl(keys.cloud_spend(budget.today())) > 0
    counted = await usage.of_day(redis, "u1", datetime.now(UTC).date())
    assert (counted["cloud_tokens"], counted["calls"]) == (16, 1)


async def test_tools_work_through_the_cloud(gateway: Gateway, at: Settle) -> None:
    call = {"index": 0, "id": "c1", "type": "function"}

    async def calls(request: web.Request) -> web.StreamResponse:
        first = {**call, "function": {"name": "get_weather", "arguments": '{"city":'}}
        second = {"index": 0, "function": {"arguments": '"Paris"}'}}
        parts = (chunk({"tool_calls": [part]}) for part in (first, second))
        return await answer(request, *parts, chunk({}, "tool_calls"), DONE)

    async with serve(calls) as cloud:
        messages = [{"role": "system", "content": "S"}, *ASK]
        result = await ask(gateway, at(AWAY, cloud=cloud_at(cloud)), messages, [WEATHER])
    assert [(each.id, each.name, each.arguments) for each in result.calls] == [
        ("c1", "get_weather", {"city": "Paris"})
    ]
    assert result.finish is not None
    assert result.finish.reason == "tool_calls"
    assert result.finish.usage.estimated
    assert [m["role"] for m in cloud.bodies[0]["messages"]] == ["system", "user"]


async def test_half_a_call_of_the_cloud_is_refused(gateway: Gateway, at: Settle) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"city": "Par'}}
        return await answer(request, chunk({"tool_calls": [call]}), chunk({}, "length"), DONE)

    async with serve(cut) as cloud:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(AWAY, cloud=cloud_at(cloud)), tools=[WEATHER])
    assert "cut off" in caught.value.detail


async def test_more_calls_of_the_cloud_than_anybody_needs_end_its_answer(
    gateway: Gateway, at: Settle
) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        function = {"name": "f", "arguments": "{}"}
        calls = [{"index": n, "id": f"c{n}", "function": function} for n in range(65)]
        parts = (chunk({"tool_calls": [call]}) for call in calls)
        return await answer(request, *parts, chunk({}, "tool_calls"), DONE)

    async with serve(flood) as cloud:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(AWAY, cloud=cloud_at(cloud)), tools=[WEATHER])
    assert "more than 64 tool calls" in caught.value.detail


@pytest.mark.parametrize(
    "changes",
    [{"enabled": False}, {"daily_tokens": 0}, {"daily_tokens": 10}, {"api_key": SecretStr("")}],
)
async def test_no_packet_leaves(gateway: Gateway, at: Settle, changes: dict[str, Any]) -> None:
    connected: list[object] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        cloud = cloud_at(ModelServer(port), **changes)
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(AWAY, cloud=cloud))
    assert caught.value.kind == "unreachable"
    assert connected == []


async def test_the_budget_of_a_day_ends(gateway: Gateway, at: Settle, redis: RedisClient) -> None:
    async with serve(hello) as cloud:
        settings = at(AWAY, cloud=cloud_at(cloud, daily_tokens=45), max_tokens=20)
        assert (await ask(gateway, settings)).text
        assert (await ask(gateway, settings)).text
        with pytest.raises(ModelError) as caught:
            await ask(gateway, settings)
    assert "budget of today is spent" in caught.value.detail
    assert len(cloud.bodies) == 2
    assert await budget.spent(redis, budget.today()) == 32


async def test_budget_is_reserved_together(redis: RedisClient) -> None:
    taken = await asyncio.gather(*(budget.reserve(redis, "d", 10, 35) for _ in range(20)))
    assert sum(taken) <= 3
    assert await budget.spent(redis, "d") == 10 * sum(taken)
    await redis.delete(keys.cloud_spend("d"))


async def test_after_the_first_token_the_cloud_is_not_asked(
    gateway: Gateway, at: Settle, quirks: ModelServer
) -> None:
    async with serve(hello) as cloud:
        with pytest.raises(ModelError):
            await ask(gateway, at(f"{quirks.url}/cut/v1", cloud=cloud_at(cloud)))
    assert cloud.seen == []


@pytest.mark.parametrize("name", ["ctx_vllm"])
async def test_a_prompt_that_is_too_long_stays_here(
    gateway: Gateway, at: Settle, quirks: ModelServer, name: str
) -> None:
    async with serve(hello) as cloud:
        with pytest.raises(ModelError):
            await ask(gateway, at(f"{quirks.url}/{name}/v1", cloud=cloud_at(cloud)))
    assert cloud.seen == []


@pytest.mark.parametrize("name", ["lms_no_model", "empty_stream", "html_502", "template_system"])
async def test_the_cloud_stands_in_for(
    gateway: Gateway, at: Settle, quirks: ModelServer, name: str
) -> None:
    async with serve(hello) as cloud:
        result = await ask(gateway, at(f"{quirks.url}/{name}/v1", cloud=cloud_at(cloud)))
    assert result.text == "Hello from above"


async def refuses(request: web.Request) -> web.StreamResponse:
    """No credit."""
    return refuse(429, f"No credit left for {SECRET}")


async def nothing(request: web.Request) -> web.StreamResponse:
    """An empty stream."""
    return await answer(request, DONE)


@pytest.mark.parametrize("handler", [refuses, nothing])
async def test_a_cloud_that_fails_too(
    gateway: Gateway, at: Settle, redis: RedisClient, handler: Handler
) -> None:
    async with serve(handler) as cloud:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(AWAY, cloud=cloud_at(cloud)))
    assert caught.value.kind == "unreachable"
    assert "The cloud fallback failed too" in caught.value.detail
    assert SECRET not in caught.value.detail
    assert len(cloud.bodies) == 1
    assert await budget.spent(redis, budget.today()) == 0


async def test_cancelling_reaches_the_cloud(gateway: Gateway, at: Settle) -> None:
    waiting = asyncio.Event()

    async def hangs(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "Hel"}))
        waiting.set()
        await asyncio.sleep(30)
        return response

    async with serve(hangs) as cloud:
        turn = asyncio.create_task(ask(gateway, at(AWAY, cloud=cloud_at(cloud))))
        await asyncio.wait_for(waiting.wait(), 20)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(turn, 1)
