"""Overflow cannot brick a chat (promise P6): the real graph and gateway against a model server that
counts strictly and takes nothing over its context."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from core.store.client import Store
from tests.support.gateways import opened
from tests.support.strict_server import SCRIPTS, Manner, StrictServer, tokens, words
from tests.support.studio import Reply, Studio, shown, studio
from tools import kept_results, user_profile
from tools.base import Tool, Traits, tool

EXAMPLES = 6
"""Conversations of each kind of server."""


def tools(random: random.Random, context: int) -> list[Tool]:
    """Tools with results of any length."""

    async def fetch(place: str) -> str:
        """Read something, perhaps very long.

        Args:
            place: Where it is.
        """
        return words(random, random.choice((20, context // 4, 10 * context)))

    async def write(place: str, text: str) -> str:
        """Write something down.

        Args:
            place: Where.
            text: What.
        """
        return f"{len(text)} characters written to {place}"

    return [tool(fetch), tool(write, Traits(effect="write"))]


@asynccontextmanager
async def strict(
    store: Store, home: Path, server: StrictServer, seed: int = 0, **groups: Any
) -> AsyncGenerator[Studio]:
    """A studio on a strict server."""

    def script(body: dict[str, Any]) -> Reply:
        return lambda request: server.chat(body, request)

    async with studio(
        store,
        home,
        script,
        tools=tools(random.Random(seed), server.context),
        toolsets=(user_profile.toolset, kept_results.toolset),
        about=server.about,
        **groups,
    ) as it:
        yield it


def history(random: random.Random, most: int) -> list[AnyMessage]:
    """A conversation of about so many tokens: talk, and rounds of tools with any results."""
    messages: list[AnyMessage] = []
    left, turn = most, 0
    while left > 0:
        turn += 1
        size = random.choice((30, 300, most // 5, most))
        round_of_tools = [
            {"name": "fetch", "args": {"place": words(random, 20)}, "id": f"h{turn}.{n}"}
            for n in range(random.choice((0, 0, 1, 3, 8)))
        ]
        if random.random() < 0.2:
            written = {"place": "x", "text": words(random, size)}
            round_of_tools.append({"name": "write", "args": written, "id": f"h{turn}.w"})
        some: list[AnyMessage] = [HumanMessage(words(random, size), id=f"q{turn}")]
        if round_of_tools:
            some.append(AIMessage("", tool_calls=cast("Any", round_of_tools), id=f"c{turn}"))
        some += [
            ToolMessage(words(random, size), tool_call_id=call["id"], name="fetch", id=call["id"])
            for call in round_of_tools
        ]
        some.append(AIMessage(words(random, size), id=f"a{turn}"))
        left -= sum(tokens(message.text) for message in some)
        messages += some
    return messages


async def remembered(it: Studio, thread: str, messages: list[AnyMessage]) -> None:
    """The conversation as if it had been held."""
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    values = {"messages": messages, "turn": {"message_id": "old"}}
    await it.graph.aupdate_state(config, values, as_node="remember")


def some_calls(random: random.Random) -> Any:
    """A model that calls tools, reads on, and answers."""

    def reply(body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]] | str:
        offered = {tool["function"]["name"] for tool in body.get("tools", ())}
        if not offered or random.random() < 0.3:
            return "An answer."
        if "read_result" in offered and random.random() < 0.7:
            pointers = [m["content"][-200:] for m in body["messages"] if m["role"] == "tool"]
            found = [text.partition('result_id="')[2][:11] for text in pointers]
            wanted = random.choice([name for name in found if name] or ["r0"])
            return [("read_result", {"result_id": wanted, "offset": random.randint(0, 9000)})]
        if "fetch" not in offered:
            return "An answer."
        calls: list[tuple[str, dict[str, Any]]] = [
            ("fetch", {"place": "x"}) for _ in range(random.choice((1, 1, 2, 6)))
        ]
        if random.random() < 0.2:
            calls.append(("write", {"place": "y", "text": words(random, 3000)}))
        return calls

    return reply


def check(server: StrictServer, question: str) -> None:
    """Of all requests that the server took: within its context, with what was asked, and each call
    has its one result behind it."""
    answered = 0
    assert all(size <= server.context for size in server.sizes)
    for body in server.taken:
        messages = body["messages"]
        assert messages[0]["role"] == "system"
        if "personal assistant" not in messages[0]["content"]:
            continue  # the summary's, or the grader's
        asked = [message for message in messages if message["role"] == "user"]
        assert question in asked[-1]["content"]
        answered += 1
        waiting: set[str] = set()
        for message in messages:
            if message["role"] == "tool":
                assert message["tool_call_id"] in waiting
                waiting.remove(message["tool_call_id"])
                continue
            assert not waiting
            waiting = {call["id"] for call in message.get("tool_calls", ())}
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
        assert not waiting
    assert answered


SERVERS = [
    pytest.param(StrictServer(8192, "llamacpp", says=8192), id="llamacpp-8k"),
    pytest.param(StrictServer(4096, "llamacpp", says=4096), id="llamacpp-4k"),
    pytest.param(StrictServer(4096, "llamacpp", says=32_768), id="less-than-it-says"),
    pytest.param(StrictServer(4096, "lmstudio"), id="lmstudio-4k-untold"),
    pytest.param(StrictServer(8192, "vllm", says=8192), id="vllm-8k"),
    pytest.param(StrictServer(4096, "unnamed", says=16_384), id="limit-never-named"),
    pytest.param(StrictServer(4096, "unnamed", says=16_384, counts=False), id="nothing-counted"),
    pytest.param(StrictServer(8192, "llamacpp", says=8192, bytewise=True), id="old-tokenizer"),
    pytest.param(StrictServer(2048, "llamacpp", says=2048), id="llamacpp-2k"),
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", SERVERS)
async def test_whatever_the_conversation_holds_it_gets_an_answer(
    store: Store, tmp_path: Path, kind: StrictServer
) -> None:
    for seed in range(EXAMPLES):
        dice = random.Random(seed)
        server = StrictServer(kind.context, kind.manner, kind.says, kind.bytewise, kind.counts)
        server.reply = some_calls(dice)
        groups: dict[str, Any] = {
            "memory": {"short_term_window": dice.choice((20, 500))},
            "orchestrator": {"autonomous_mode": dice.random() < 0.2},
        }
        if dice.random() < 0.3:
            groups["model"] = {"max_tokens": dice.choice((200, kind.context))}
        async with strict(store, tmp_path, server, seed, **groups) as it:
            thread = await it.desk.thread()
            await remembered(it, thread, history(dice, dice.choice((1, 3, 10)) * kind.context))
            for number in range(2):
                question = f"QUESTION {number}."
                text = question + " " + words(dice, dice.choice((10, 1000, 6 * kind.context)))
                server.taken.clear()
                told = await it.say(thread, text, f"m{number}")
                assert told[-1].data == {"status": "completed"}, (seed, told[-2:])
                assert shown(told).endswith("An answer.")
                check(server, question)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_one_giant_message(store: Store, tmp_path: Path, script: str) -> None:
    server = StrictServer(4096, "llamacpp", says=4096)
    async with strict(store, tmp_path, server) as it:
        thread = await it.desk.thread()
        middle = words(random.Random(1), 40_960, (script,))[:80_000]
        told = await it.say(thread, f"BEGIN {middle} END")
        assert shown(told) == "An answer."
        asked = server.taken[-1]["messages"][-1]["content"]
        assert asked.startswith("BEGIN")
        assert asked.endswith("END")
        assert "left out" in asked
        refused = server.refused
        assert shown(await it.say(thread, "and now?")) == "An answer."
        assert server.refused == refused, "the second request is too long again"


@pytest.mark.parametrize("kind", ["english", "chinese", "hex"])
async def test_a_server_that_cuts_without_a_word_has_nothing_to_cut(
    store: Store, tmp_path: Path, kind: str
) -> None:
    """Of a text that is denser than its estimate the first request may be cut: nobody can know."""
    server = StrictServer(4096, "silent", says=4096)
    dice = random.Random(2)
    async with strict(store, tmp_path, server) as it:
        thread = await it.desk.thread()
        for number in range(12):
            told = await it.say(thread, words(dice, 3000, (kind,)), f"m{number}")
            assert shown(told) == "An answer."
    assert server.cut <= (2 if kind == "hex" else 0)


@pytest.mark.parametrize("manner", ["llamacpp", "lmstudio", "vllm", "unnamed"])
async def test_a_refusal_is_met_once_and_never_by_other_workers(
    store: Store, tmp_path: Path, manner: Manner
) -> None:
    """Each turn began with the limit that the server had refused before."""
    server = StrictServer(4096, manner, says=32_768)
    talk: list[AnyMessage] = []
    for number in range(40):
        talk += [
            HumanMessage(SCRIPTS["english"] * 20, id=f"q{number}"),
            AIMessage(SCRIPTS["code"] * 10, id=f"a{number}"),
        ]
    groups: dict[str, Any] = {"memory": {"short_term_window": 200}}
    async with strict(store, tmp_path, server, **groups) as it:
        first, second = await it.desk.thread(), await it.desk.thread()
        await remembered(it, first, talk)
        await remembered(it, second, talk)
        assert shown(await it.say(first, "hello")) == "An answer."
        assert server.refused >= 1
        server.refused = 0
        assert shown(await it.say(first, "hello again")) == "An answer."
        window = await it.services.gateway.context_window(it.live.current)
        assert 2048 <= window <= 4096 * 1.5
        settings = it.live.current
        async with opened(store.redis, settings) as other_process:
            assert await other_process.context_window(settings) == window
        assert shown(await it.say(second, "hello")) == "An answer."
    assert server.refused == 0
    assert max(server.sizes[1:]) > 4096 / 3, "much less is used than there is"
