"""Collected faults of real servers: patience, ends, refusals, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.settings.groups import Settings
from core.store.redis import RedisClient
from tests.support.fault_server import PACE, load_faults, serve_fault
from tests.support.gateways import NOW, QUICK, WEATHER, ask, opened
from tests.support.quirks_server import DONE, answer, chunk, refuse, say, serve

Settle = Callable[..., Settings]
FAULTS = load_faults()
PROFILE: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_profile", "parameters": {}},
}
IN_TIME = replace(QUICK, finish_grace=3 * PACE)


async def test_a_model_that_failed_to_load_is_not_waited_for(gateway: Gateway, at: Settle) -> None:
    async with serve_fault(FAULTS["load_failed"]) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url))
    assert "unable to allocate CUDA0 buffer" in caught.value.detail
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Failed to load model",
        "error loading model: unable to allocate",
        "CUDA error: out of memory",
        "unable to load model 'x'",
        "llama runner process has terminated: exit status 2",
    ],
)
async def test_no_failure_to_load_is_waited_for(gateway: Gateway, at: Settle, words: str) -> None:
    async with serve(lambda request: _refused(503, words)) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url))
    assert words in caught.value.detail
    assert len(server.bodies) == 1


async def _refused(status: int, words: str) -> web.StreamResponse:
    return refuse(status, words)


async def test_a_busy_server_is_waited_for_and_said_to_be_busy(
    gateway: Gateway, at: Settle
) -> None:
    async with serve_fault(FAULTS["busy_503"]) as server:
        result = await ask(gateway, at(server.base_url))
    assert result.text == "DONE"
    assert [notice.text for notice in result.notices] == ["The model server is busy …"]


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_server_that_stays_busy_is_given_up(
    gateway: Gateway, at: Settle, status: int
) -> None:
    async with serve(lambda request: _refused(status, "server overloaded")) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url, loading_timeout=0.05))
    assert caught.value.kind == "busy"
    assert caught.value.retryable


async def test_a_spent_quota_is_not_waited_for(gateway: Gateway, at: Settle) -> None:
    async with serve(lambda request: _refused(429, "You exceeded your quota")) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url))
    assert caught.value.kind == "other"
    assert len(server.bodies) == 1


async def test_the_first_chunk_with_a_role_only_does_not_start_the_idle_clock(
    gateway: Gateway, at: Settle
) -> None:
    fault = FAULTS["role_first_then_slow"]
    patience = {name.split(".")[1]: value * PACE for name, value in fault["settings"].items()}
    async with serve_fault(fault) as server:
        assert (await ask(gateway, at(server.base_url, **patience))).text == "DONE"


async def test_a_finish_reason_before_the_answer_does_not_end_it(
    redis: RedisClient, settings: Settings, at: Settle
) -> None:
    async with (
        serve_fault(FAULTS["premature_stop_first"]) as server,
        opened(redis, settings, timing=IN_TIME) as gateway,
    ):
        result = await ask(gateway, at(server.base_url))
    assert (result.text, result.reasoning) == ("DONE", "thinking ")


async def test_a_finish_reason_in_every_chunk_does_not_end_the_answer(
    redis: RedisClient, settings: Settings, at: Settle
) -> None:
    said = [{"choices": [{"delta": {"content": f"{n} "}, "finish_reason": "stop"}]} for n in "ab"]
    late = {"choices": [{"delta": {"content": "c"}, "finish_reason": "stop"}]}
    fault = {"server_chunks": [*said, {"sleep": 5}, late, "[DONE]"]}
    async with (
        serve_fault(fault) as server,
        opened(redis, settings, timing=IN_TIME) as gateway,
    ):
        assert (await ask(gateway, at(server.base_url))).text == "a b c"


async def test_done_after_a_whole_call_is_its_end(gateway: Gateway, at: Settle) -> None:
    async with serve_fault(FAULTS["done_without_finish_call"]) as server:
        result = await ask(gateway, at(server.base_url), tools=[PROFILE])
    assert [(call.name, call.arguments) for call in result.calls] == [("get_profile", {})]
    assert result.finish is not None
    assert result.finish.reason == "tool_calls"


async def test_done_after_a_text_is_its_end(gateway: Gateway, at: Settle) -> None:
    async with serve(lambda request: answer(request, chunk({"content": "Hi"}), DONE)) as server:
        result = await ask(gateway, at(server.base_url))
    assert result.finish is not None
    assert (result.text, result.finish.reason) == ("Hi", "stop")


async def test_counts_of_zero_are_not_believed(gateway: Gateway, at: Settle) -> None:
    async with serve_fault(FAULTS["usage_zero"]) as server:
        result = await ask(gateway, at(server.base_url))
    assert result.usage is not None
    assert result.usage.estimated
    assert result.usage.prompt_tokens > 0


async def test_a_killed_server_is_told_as_such(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await answer_begins(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serve(handle) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url))
    assert caught.value.kind == "truncated"
    assert "connection" in caught.value.detail
    assert "max_tokens" not in caught.value.detail


async def answer_begins(request: web.Request) -> web.StreamResponse:
    """Half an answer."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(chunk({"content": "Hel"}))
    return response


async def test_a_changed_key_holds_at_once(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer right":
            return refuse(401, "Invalid API key")
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "m"}]})
        return await say(request, "Hello")

    async with serve(handle) as server:
        right = at(server.base_url, name="", api_key="right")
        wrong = at(server.base_url, name="", api_key="wrong")
        assert (await ask(gateway, right)).text == "Hello"
        with pytest.raises(ModelError) as caught:
            await ask(gateway, wrong)
        assert (await ask(gateway, right)).text == "Hello"
    assert caught.value.kind == "auth"


async def test_a_model_that_was_exchanged_is_named_at_once_and_looked_up_again(
    gateway: Gateway, at: Settle
) -> None:
    there: dict[str, Any] = {"model": "old"}

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": there["model"]}]})
        last = chunk({}, "stop", model=there["model"])
        return await answer(request, chunk({"content": "Hi"}), last, DONE)

    async with serve(handle) as server:
        settings = at(server.base_url, name="")
        first = await ask(gateway, settings, tools=[WEATHER, NOW])
        there["model"] = "/models/new-7b.gguf"
        second = await ask(gateway, settings)
        third = await ask(gateway, settings)
    names = [result.finish.model for result in (first, second, third) if result.finish]
    assert names == ["old", "new-7b", "new-7b"]
    assert [body["model"] for body in server.bodies] == ["old", "old", "/models/new-7b.gguf"]
