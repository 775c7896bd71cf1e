"""Refusals in words that no list knows: simpler forms, what is remembered, and what is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.models.servers import capabilities
from core.models.simpler import NO_TOOLS_NOTICE, SHORTER_NOTICE
from core.settings.groups import Settings
from core.store.redis import RedisClient
from tests.support.fault_server import load_faults, serve_fault
from tests.support.gateways import ASK, WEATHER, ask, opened
from tests.support.quirks_server import answer, refuse, say, serve

Settle = Callable[..., Settings]
FAULTS = load_faults()
WORDS = "Nyet: this request is not to my taste"
TOO_MUCH = "Nyet: that is a long story"
LONG_TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    *(
        {"role": role, "content": f"{role} says {'word ' * 360}"}
        for _ in range(3)
        for role in ("user", "assistant")
    ),
    {"role": "user", "content": "And now?"},
]
Rule = Callable[[dict[str, Any]], bool]


def picky(rule: Rule, *, in_stream: bool = False, words: str = WORDS) -> Any:
    """A server that refuses, in words of its own, what the rule says."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if not rule(await request.json()):
            return await say(request, "Hello")
        if not in_stream:
            return refuse(400, words)
        event = f'data: {{"error": {{"message": "{words}"}}}}\n\n'
        return await answer(request, event.encode())

    return handle


CASES: list[tuple[Rule, dict[str, Any]]] = [
    (lambda body: "temperature" in body, {"refused_parameters": ("max_tokens", "temperature")}),
    (lambda body: "response_format" in body, {"refused_parameters": ("response_format",)}),
    (lambda body: "tools" in body, {"tools": False}),
    (lambda body: body["messages"][0]["role"] == "system", {"system_role": False}),
]


@pytest.mark.parametrize("in_stream", [False, True])
@pytest.mark.parametrize(("rule", "believed"), CASES)
async def test_the_form_that_helps_is_remembered(
    gateway: Gateway,
    at: Settle,
    redis: RedisClient,
    settings: Settings,
    rule: Rule,
    believed: dict[str, Any],
    in_stream: bool,
) -> None:
    async def once(its: Gateway) -> str:
        wanted = at(server.base_url, temperature=0.5, max_tokens=99)
        form = {"type": "json_object"}
        talk = [LONG_TALK[0], LONG_TALK[-1]]
        return (await ask(its, wanted, talk, [WEATHER], response_format=form)).text

    async with serve(picky(rule, in_stream=in_stream)) as server:
        assert await once(gateway) == "Hello"
        asked = len(server.bodies)
        async with opened(redis, settings) as other:
            assert await once(other) == "Hello"
        assert len(server.bodies) == asked + 1
    known = await capabilities.load(redis, server.base_url, "m")
    assert {name: getattr(known, name) for name in believed} == believed
    assert known.tools is believed.get("tools")


async def test_a_long_conversation_is_asked_with_less_and_the_user_is_told(
    gateway: Gateway, at: Settle
) -> None:
    async with serve(picky(lambda body: len(body["messages"]) > 2, words=TOO_MUCH)) as server:
        result = await ask(gateway, at(server.base_url), LONG_TALK)
    assert result.text == "Hello"
    assert [notice.text for notice in result.notices] == [SHORTER_NOTICE]
    assert [len(body["messages"]) for body in server.bodies] == [8, 2]


async def test_without_tools_only_what_helped_is_told(gateway: Gateway, at: Settle) -> None:
    async with serve(picky(lambda body: "tools" in body)) as server:
        result = await ask(gateway, at(server.base_url), LONG_TALK, [WEATHER])
    assert result.text == "Hello"
    assert [notice.text for notice in result.notices] == [NO_TOOLS_NOTICE]


async def test_two_things_that_are_refused_at_once(gateway: Gateway, at: Settle) -> None:
    async with serve(picky(lambda body: "tools" in body or "temperature" in body)) as server:
        result = await ask(gateway, at(server.base_url, temperature=0.1), ASK, [WEATHER])
    assert result.text == "Hello"


async def test_a_server_that_refuses_everything_ends_in_its_own_words(
    gateway: Gateway, at: Settle
) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        return refuse(400, f"No. {len(server.bodies)} is too long")

    began = time.monotonic()
    async with serve(refuses) as server:
        with pytest.raises(ModelError) as caught:
            await ask(
                gateway,
                at(server.base_url, temperature=0.1),
                LONG_TALK,
                [WEATHER],
                response_format={"type": "json_object"},
            )
    assert "No. 1" in caught.value.detail
    assert time.monotonic() - began < 10
    bodies = [{**body, "model": ""} for body in server.bodies]
    assert len(bodies) == 7
    assert all(body not in bodies[:n] for n, body in enumerate(bodies))


async def test_a_conversation_with_tool_results_does_not_cost_the_model_its_tools(
    gateway: Gateway, at: Settle, redis: RedisClient
) -> None:
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    talk = [
        ASK[0],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "noon"},
    ]
    refuses = picky(lambda body: any(m["role"] == "tool" for m in body["messages"]))
    async with serve(refuses) as server:
        assert (await ask(gateway, at(server.base_url), talk, [WEATHER])).text == "Hello"
    assert (await capabilities.load(redis, server.base_url, "m")).tools is None


async def test_a_mishap_within_the_stream_costs_the_model_nothing(
    gateway: Gateway, at: Settle, redis: RedisClient
) -> None:
    def first(_body: dict[str, Any]) -> bool:
        return len(server.bodies) == 1

    handle = picky(first, in_stream=True)
    async with serve(lambda request: handle(request)) as server:
        result = await ask(gateway, at(server.base_url, temperature=0.1), ASK, [WEATHER])
    assert (result.text, result.notices) == ("Hello", [])
    assert server.bodies[0] == server.bodies[1]
    known = await capabilities.load(redis, server.base_url, "m")
    assert (known.tools, known.refused_parameters) == (None, ())


async def test_an_empty_answer_to_a_full_context_says_so(gateway: Gateway, at: Settle) -> None:
    async with serve_fault(FAULTS["ovf_silent_empty"]) as server:
        result = await ask(gateway, at(server.base_url), LONG_TALK)
    assert "context" in result.notices[0].text


async def test_an_error_of_the_server_is_no_refusal(gateway: Gateway, at: Settle) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        return refuse(500, WORDS)

    async with serve(broken) as server:
        with pytest.raises(ModelError):
            await ask(gateway, at(server.base_url, temperature=0.1), LONG_TALK, [WEATHER])
    assert len(server.bodies) == 1


async def test_tools_refused_in_the_words_of_a_proxy(gateway: Gateway, at: Settle) -> None:
    async with serve_fault(FAULTS["litellm_no_tools"]) as server:
        result = await ask(gateway, at(server.base_url), tools=[WEATHER])
    assert result.text == "DONE"
    assert result.notices[0].text == NO_TOOLS_NOTICE


async def test_a_model_that_was_unloaded_is_asked_again(gateway: Gateway, at: Settle) -> None:
    async with serve_fault(FAULTS["model_unloaded"]) as server:
        assert (await ask(gateway, at(server.base_url))).text == "DONE"
    assert server.bodies[0] == server.bodies[1]


@pytest.mark.parametrize(
    "name",
    ["ovf_lmstudio_midgen", "ovf_llamacpp_exceeded", "ovf_sglang_longer", "ovf_only_tokens"],
)
async def test_a_conversation_that_is_too_long_in_new_words(
    gateway: Gateway, at: Settle, name: str
) -> None:
    async with serve_fault(FAULTS[name]) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url), LONG_TALK)
    # The caller asks again with less of the conversation.
    assert caught.value.kind == "context_overflow"
    assert caught.value.context_window in (4096, None)
