"""The gateway against scripted servers: requests, retries, memory, accounting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
from aiohttp import web

from core.models import usage
from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.models.servers import capabilities
from core.models.wire.pieces import Finish, Piece, ReclassifyPiece, TextPiece
from core.settings.groups import Settings
from core.store.connection import connect
from core.store.redis import RedisClient
from tests.support.gateways import ASK, NOW, WEATHER, ask, opened
from tests.support.quirks_server import (
    DONE,
    ModelServer,
    answer,
    chunk,
    refuse,
    say,
    serve,
    start_stream,
)

Settle = Callable[..., Settings]


async def test_pieces_of_one_network_read_come_together(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        burst = b"".join(chunk({"content": str(n)}) for n in range(5))
        return await answer(request, burst + chunk({}, "stop") + DONE)

    async with serve(handle) as server:
        lists = [
            pieces
            async for pieces in gateway.stream(
                ASK, None, settings=at(server.base_url), user_id="u", thread_id="t"
            )
        ]
    assert len(lists) == 1
    assert lists[0][0] == TextPiece("01234")
    assert isinstance(lists[0][-1], Finish)


async def test_only_parameters_that_every_server_takes(gateway: Gateway, at: Settle) -> None:
    async with serve(lambda request: say(request, "Hi")) as server:
        await ask(gateway, at(server.base_url, api_key="k1"), tools=[WEATHER])
        await ask(gateway, at(server.base_url, temperature=0.5, max_tokens=99))
        await ask(gateway, at(server.base_url), tools=[WEATHER, NOW], tool_choice="now")
        await ask(gateway, at(server.base_url), tools=[WEATHER], tool_choice="none")
    first, second, third, fourth = server.bodies
    assert set(first) == {"model", "messages", "stream", "tools"}
    assert (second["temperature"], second["max_tokens"]) == (0.5, 99)
    # A tool's name as tool_choice is an object, which LM Studio refuses: one tool, and "required".
    assert (third["tools"], third["tool_choice"]) == ([NOW], "required")
    assert set(fourth) == {"model", "messages", "stream"}
    assert server.seen[0].headers["Authorization"] == "Bearer k1"
    assert "Authorization" not in server.seen[1].headers


async def test_a_loading_model_is_waited_for(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if len(server.seen) < 4:
            return refuse(503, "Loading model", type="unavailable_error")
        return await say(request, "Hello")

    async with serve(handle) as server:
        result = await ask(gateway, at(server.base_url))
    assert result.text == "Hello"
    assert [notice.text for notice in result.notices] == ["The model is loading …"]
    assert len(server.bodies) == 4


async def test_a_model_without_tools_is_asked_without_and_remembered(
    gateway: Gateway, at: Settle, redis: RedisClient, settings: Settings
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "tools" in server.bodies[-1]:
            return refuse(400, "registry.ollama.ai/library/llama3:latest does not support tools")
        return await say(request, "Hello")

    async with serve(handle) as server:
        result = await ask(gateway, at(server.base_url), tools=[WEATHER])
        assert result.text == "Hello"
        assert "cannot use tools" in result.notices[0].text
        again = await ask(gateway, at(server.base_url), tools=[WEATHER])
        assert (again.text, again.notices) == ("Hello", [])
        async with opened(redis, settings) as other:
            await ask(other, at(server.base_url), tools=[WEATHER])
    assert ["tools" in body for body in server.bodies] == [True, False, False, False]
    known = await capabilities.load(redis, server.base_url, "m")
    assert (known.tools, known.source) == (False, "learned")


async def test_a_refused_parameter_is_dropped_and_remembered(
    gateway: Gateway, at: Settle, redis: RedisClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        for name in ("temperature", "max_tokens"):
            if name in server.bodies[-1]:
                return refuse(400, f"Unsupported parameter: '{name}'", param=name)
        return await say(request, "Hello")

    async with serve(handle) as server:
        settings = at(server.base_url, temperature=0.1, max_tokens=50)
        assert (await ask(gateway, settings)).text == "Hello"
        assert (await ask(gateway, settings)).text == "Hello"
    assert len(server.bodies) == 4
    known = await capabilities.load(redis, server.base_url, "m")
    assert known.refused_parameters == ("temperature", "max_tokens")


@pytest.mark.parametrize(
    ("refusal", "roles"),
    [
        ("Only user, assistant and tool roles are supported, got system.", ["user"]),
        ("Jinja Exception: System role not supported", ["user"]),
        ("Conversation roles must alternate user/assistant/user/assistant/...", ["user"]),
    ],
)
async def test_a_template_without_system_role_gets_it_in_the_first_message(
    gateway: Gateway, at: Settle, refusal: str, roles: list[str]
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if [message["role"] for message in server.bodies[-1]["messages"]] != roles:
            return refuse(400, refusal)
        return await say(request, "Hello")

    messages = [{"role": "system", "content": "Be kind."}, *ASK]
    async with serve(handle) as server:
        assert (await ask(gateway, at(server.base_url), messages)).text == "Hello"
        count = len(server.bodies)
        assert (await ask(gateway, at(server.base_url), messages)).text == "Hello"
    assert server.bodies[-1]["messages"][0]["content"] == "Be kind.\n\nHello"
    assert len(server.bodies) == count + 1


async def test_the_context_size_in_an_error_is_remembered(
    gateway: Gateway, at: Settle, quirks: ModelServer
) -> None:
    settings = at(f"{quirks.url}/ctx_vllm/v1")
    assert await gateway.context_window(settings) == 8192
    with pytest.raises(ModelError):
        await ask(gateway, settings)
    assert await gateway.context_window(settings) == 4096
    assert await gateway.context_window(at("http://127.0.0.1:9/v1", context_window=77)) == 77


async def test_a_close_only_model_is_recalled_once_and_then_known(
    gateway: Gateway, at: Settle, redis: RedisClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "I think"}))
        await asyncio.sleep(0.03)
        await response.write(chunk({"content": "\n</think>\n\nHello"}) + chunk({}, "stop") + DONE)
        return response

    async def pieces_of(settings: Settings) -> list[Piece]:
        stream = gateway.stream(ASK, None, settings=settings, user_id="u", thread_id="t")
        return [piece async for pieces in stream for piece in pieces]

    async with serve(handle) as server:
        first = await pieces_of(at(server.base_url))
        second = await pieces_of(at(server.base_url))
        result = await ask(gateway, at(server.base_url))
    assert ReclassifyPiece("I think\n") in first
    assert not any(isinstance(piece, ReclassifyPiece) for piece in second)
    assert (result.text, result.reasoning) == ("Hello", "I think\n")
    assert (await capabilities.load(redis, server.base_url, "m")).close_only_think


async def test_a_stale_connection_is_tried_once_more(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if len(server.seen) == 2 and request.transport is not None:
            request.transport.abort()
        return await say(request, "Hello")

    async with serve(handle) as server:
        assert (await ask(gateway, at(server.base_url))).text == "Hello"
        assert (await ask(gateway, at(server.base_url))).text == "Hello"
    assert len(server.bodies) == 3


async def test_a_server_that_hangs_up_on_a_new_connection_is_not_asked_twice(
    gateway: Gateway, at: Settle
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async with serve(handle) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url))
    assert caught.value.kind == "unreachable"
    assert len(server.bodies) == 1


async def test_it_is_remembered_whether_the_model_was_there(gateway: Gateway, at: Settle) -> None:
    async with serve(lambda request: say(request, "Hello")) as server:
        there = at(server.base_url)
        await ask(gateway, there)
    answered = gateway.reach.answered
    assert answered > 0
    assert gateway.reach.missed(there.model) == 0
    with pytest.raises(ModelError):
        await ask(gateway, there)
    assert gateway.reach.missed(there.model) >= answered
    assert gateway.reach.answered == answered
    # With other settings nothing is known yet.
    assert gateway.reach.missed(at("http://127.0.0.1:1/v1").model) == 0


@pytest.mark.parametrize("name", ["cut", "error_in_stream_data", "error_prefix_line"])
async def test_a_failure_in_the_middle_is_never_retried(
    gateway: Gateway, at: Settle, quirks: ModelServer, name: str
) -> None:
    with pytest.raises(ModelError):
        await ask(gateway, at(f"{quirks.url}/{name}/v1"))
    assert len(quirks.bodies) == 1


async def test_redirects_are_not_followed(gateway: Gateway, at: Settle) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        return await say(request, "Hello")

    async with serve(elsewhere) as other:

        async def handle(request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{other.base_url}/x"})

        async with serve(handle) as server:
            with pytest.raises(ModelError) as caught:
                await ask(gateway, at(server.base_url))
        assert "redirects to" in caught.value.detail
        assert other.seen == []


async def test_a_silently_cut_prompt_is_said_once(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        used = {"prompt_tokens": 2048, "completion_tokens": 1}
        return await answer(request, chunk({"content": "x"}), chunk({}, "stop", usage=used), DONE)

    long = [{"role": "user", "content": "word " * 10_000}]
    async with serve(handle) as server:
        first = await ask(gateway, at(server.base_url), long)
        second = await ask(gateway, at(server.base_url), long)
        third = await ask(gateway, at(server.base_url))
    assert "read only 2048 tokens" in first.notices[0].text
    assert second.notices == third.notices == []


SECRET = "-".join(["sk", "verysecret1234567890"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_keys_never_get_into_errors(gateway: Gateway, at: Settle, status: int) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return refuse(status, f"Incorrect API key: {SECRET}; header Bearer {SECRET}")

    async with serve(handle) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url, api_key=SECRET, loading_timeout=0))
    assert SECRET not in f"{caught.value!r} {caught.value.detail} {caught.value.said}"
    assert caught.value.kind in ("auth", "other", "busy")


async def test_usage_is_counted(gateway: Gateway, at: Settle, redis: RedisClient) -> None:
    async with serve(lambda request: say(request, "Hello")) as server:
        await ask(gateway, at(server.base_url))
        await ask(gateway, at(server.base_url))
        await gateway.settle()
    today = datetime.now(UTC).date()
    expected = {"calls": 2, "prompt_tokens": 22, "completion_tokens": 10}
    assert await usage.of_thread(redis, "t1") == expected
    assert await usage.of_day(redis, "u1", today) == expected


async def test_a_cancelled_call_is_counted_too(
    gateway: Gateway, at: Settle, redis: RedisClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "Hel"}))
        await asyncio.sleep(30)
        return response

    async with serve(handle) as server:
        stream = gateway.stream(ASK, None, settings=at(server.base_url), user_id="u", thread_id="t")
        async with aclosing(stream):
            await anext(stream)
        await gateway.settle()
    counted = await usage.of_thread(redis, "t")
    assert (counted["calls"], counted["estimated_calls"]) == (1, 1)


async def test_lone_surrogates_and_huge_numbers_are_sent_scrubbed(
    gateway: Gateway, at: Settle
) -> None:
    messages = [{"role": "user", "content": "a\ud83d"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"maximum": 2**70}}}
    async with serve(lambda request: say(request, "Hello")) as server:
        await ask(gateway, at(server.base_url), messages, [tool])
    assert server.bodies[0]["messages"][0]["content"] == "a\ufffd"


async def test_a_large_request_arrives_whole(gateway: Gateway, at: Settle) -> None:
    text = "ё" * 2_000_000
    async with serve(lambda request: say(request, "Hello")) as server:
        await ask(gateway, at(server.base_url), [{"role": "user", "content": text}])
    assert server.bodies[0]["messages"][0]["content"] == text


async def test_no_server_at_all_says_what_to_do(gateway: Gateway, at: Settle) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(gateway, at("", name=""))
    assert caught.value.kind == "unreachable"
    assert "LM Studio" in caught.value.detail


async def test_without_redis_the_model_still_answers(at: Settle, settings: Settings) -> None:
    away = connect(f"unix://{settings.home}/nothing.sock")
    async with serve(lambda request: say(request, "Hello")) as server, opened(away, settings) as it:
        assert (await ask(it, at(server.base_url))).text == "Hello"
    await away.aclose()


@pytest.fixture
async def two_models() -> AsyncGenerator[ModelServer]:
    """A server whose list changes from one model to another."""

    async def handle(request: web.Request) -> web.StreamResponse:
        lists = sum(seen.path.endswith("/models") for seen in server.seen)
        current = "old" if lists <= 1 else "new"
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "bge-m3"}, {"id": current}]})
        if json.loads(await request.text())["model"] != "new":
            return refuse(404, "model 'old' not found")
        return await say(request, "Hello")

    async with serve(handle) as server:
        yield server


async def test_a_default_model_that_is_gone_is_looked_up_again(
    gateway: Gateway, at: Settle, two_models: ModelServer
) -> None:
    result = await ask(gateway, at(two_models.base_url, name=""))
    assert result.text == "Hello"
    assert result.finish is not None
    assert result.finish.model == "new"
    assert [body["model"] for body in two_models.bodies] == ["old", "new"]
