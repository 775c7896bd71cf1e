"""The scripted model: what it says, that it keeps to the protocol, and its special texts."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web

from api.demo.model import MODEL, TOKEN, create_demo_app
from api.demo.script import text_file
from core.models.errors import ModelError
from core.models.servers.probe import probe
from core.models.wire.pieces import ModelAnswer
from core.models.wire.transport import open_transport
from core.settings.groups import ModelSettings, Settings
from core.store.redis import RedisClient
from nodes.prompts import prompt
from tests.support.gateways import ask, opened
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("current_time", "set_profile", "get_profile")
]


@asynccontextmanager
async def demo(*, pace: float = 0, log: Path | None = None) -> AsyncGenerator[str]:
    """A running server; the value is its base URL."""
    runner = web.AppRunner(create_demo_app(pace=pace, log=log), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def said(text: str, *later: dict[str, Any]) -> list[dict[str, Any]]:
    """Messages of a conversation that ends with this text, and what followed it."""
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}, *later]


def called(name: str, arguments: str, result: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A tool call and its result."""
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return (
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": result},
    )


async def whole(base: str, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """An answer that is not streamed: the message."""
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{base}/chat/completions", json={"messages": messages, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]


async def through_gateway(
    base: str, redis: RedisClient, settings: Settings, text: str, **more: Any
) -> ModelAnswer:
    """What the assistant itself makes of the streamed answer."""
    model = ModelSettings(base_url=base, name=MODEL)
    settings = settings.model_copy(update={"model": model})
    async with opened(redis, settings) as gateway:
        return await ask(gateway, settings, said(text), **more)


async def test_the_model_says_by_its_name_that_it_is_scripted() -> None:
    async with demo() as base, httpx.AsyncClient() as client:
        listed = (await client.get(f"{base}/models")).json()
    assert [entry["id"] for entry in listed["data"]] == ["scripted-demo"]


@pytest.mark.parametrize(
    ("question", "language"),
    [("Hello!", "en"), ("What can you do?", "en"), ("Привет", "ru"), ("Что ты умеешь?", "ru")],
)
async def test_a_greeting_shows_everything_in_the_language_of_the_question(
    redis: RedisClient, settings: Settings, question: str, language: Any
) -> None:
    async with demo() as base:
        answer = await through_gateway(base, redis, settings, question)
    assert answer.text == text_file("tour", language)
    assert "|" in answer.text
    assert "```python" in answer.text
    assert answer.finish is not None
    assert answer.finish.model == MODEL
    assert answer.usage is not None
    assert not answer.usage.estimated


@pytest.mark.parametrize("example", re.findall(r"^\| `([^`]+)`", text_file("tour", "en"), re.M))
@pytest.mark.parametrize("language", ["en", "ru"])
async def test_every_example_of_the_tour_has_a_rule(example: str, language: Any) -> None:
    examples = re.findall(r"^\| `([^`]+)`", text_file("tour", "en"), re.M)
    shown = re.findall(r"^\| `([^`]+)`", text_file("tour", language), re.M)[examples.index(example)]
    async with demo() as base, httpx.AsyncClient() as client:
        body = {"messages": said(shown), "tools": TOOLS}
        answer = await client.post(f"{base}/chat/completions", json=body)
    if "rror" in example:
        assert answer.status_code == 500
        return
    message = answer.json()["choices"][0]["message"]
    assert message.get("tool_calls") or message["content"] in {
        text_file("long", language),
        *([message["content"]] if "reasoning_content" in message else []),
    }


@pytest.mark.parametrize("question", ["What time is it?", "Сколько времени?"])
async def test_the_time_is_thought_about_then_asked_of_the_tool(
    redis: RedisClient, settings: Settings, question: str
) -> None:
    async with demo() as base:
        answer = await through_gateway(base, redis, settings, question, tools=TOOLS)
    assert answer.reasoning
    assert [(call.name, call.arguments) for call in answer.calls] == [("current_time", {})]


async def test_the_answer_uses_the_result_of_the_tool() -> None:
    clock = called("current_time", "{}", "Friday, 2031-01-03 04:05:06")
    async with demo() as base:
        message = await whole(base, said("What time is it?", *clock))
    assert "2031-01-03 04:05:06" in message["content"]
    assert "tool_calls" not in message


@pytest.mark.parametrize(
    ("question", "name"),
    [("My name is Ada Lovelace.", "Ada Lovelace"), ("Меня зовут Ада, привет!", "Ада")],
)
async def test_a_name_is_stored_and_confirmed(question: str, name: str) -> None:
    async with demo() as base:
        message = await whole(base, said(question), tools=TOOLS)
        call = message["tool_calls"][0]["function"]
        stored = called(call["name"], call["arguments"], f"stored name: {name}")
        confirmed = await whole(base, said(question, *stored), tools=TOOLS)
    assert call["name"] == "set_profile"
    assert json.loads(call["arguments"]) == {"key": "name", "value": name}
    assert f"**{name}**" in confirmed["content"]


async def test_a_tool_that_failed_is_not_reported_as_done() -> None:
    failed = called("set_profile", "{}", "a profile holds at most 50 entries; remove some first")
    async with demo() as base:
        message = await whole(base, said("My name is Ada", *failed), tools=TOOLS)
    assert "remove some first" in message["content"]
    assert "stored your name" not in message["content"]


async def test_what_is_known_comes_from_the_profile_tool() -> None:
    known = called("get_profile", "{}", "language: en\nname: Ada")
    async with demo() as base:
        asks = await whole(base, said("What do you know about me?"), tools=TOOLS)
        message = await whole(base, said("What do you know about me?", *known), tools=TOOLS)
    assert asks["tool_calls"][0]["function"]["name"] == "get_profile"
    assert "- name: Ada" in message["content"]


@pytest.mark.parametrize("more", [{}, {"tools": TOOLS, "tool_choice": "none"}])
async def test_a_tool_that_is_not_offered_is_not_called(more: dict[str, Any]) -> None:
    async with demo() as base:
        for question in ("What time is it?", "tool:current_time {}"):
            message = await whole(base, said(question), **more)
            assert "tool_calls" not in message
            assert "`current_time`" in message["content"]


async def test_thinking_is_long(redis: RedisClient, settings: Settings) -> None:
    async with demo() as base:
        answer = await through_gateway(base, redis, settings, "Think about the sea")
    assert answer.reasoning == text_file("thinking", "en")
    assert "script" in answer.text


async def test_an_error_comes_once_so_that_trying_again_works(
    redis: RedisClient, settings: Settings
) -> None:
    async with demo() as base:
        with pytest.raises(ModelError, match="scripted error"):
            await through_gateway(base, redis, settings, "Show me an error")
        again = await through_gateway(base, redis, settings, "Show me an error")
        assert "try again" in again.text
        for _ in range(3):
            with pytest.raises(ModelError, match="every time"):
                await through_gateway(base, redis, settings, "always error")


async def test_anything_else_is_echoed_with_a_way_to_a_real_model() -> None:
    async with demo() as base:
        message = await whole(base, said("An earlier message that failed\n\nTell me a joke {x}"))
    assert "“Tell me a joke {x}”" in message["content"]
    assert "Find local servers" in message["content"]


async def test_it_serves_the_grader_and_the_summary() -> None:
    async with demo() as base:
        graded = await whole(base, [{"role": "system", "content": prompt("grader")}, *said("x")])
        system = {"role": "system", "content": prompt("summary")}
        summary = await whole(base, [system, {"role": "user", "content": "New messages:\n…"}])
    assert json.loads(graded["content"]) == {"score": 0.9, "missing": ""}
    assert len(summary["content"]) < 300


async def test_the_connection_test_finds_nothing_wanting() -> None:
    async with demo() as base, open_transport() as transport:
        report = await probe(transport, ModelSettings(base_url=base))
    assert report.refused is None
    assert {step.name: step.ok for step in report.steps if not step.ok} == {"reasoning": False}
    assert report.capabilities.context_window == 32_768


@pytest.mark.parametrize("count", [1, 100, 1200])
async def test_bench_gives_exactly_so_many_tokens_one_per_chunk(count: int) -> None:
    async with demo() as base, httpx.AsyncClient() as client:
        body = {"messages": said(f"bench:{count}"), "stream": True}
        answer = await client.post(f"{base}/chat/completions", json=body)
    chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if "choices" in line]
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert [text for text in texts if text] == [f"t{n} " for n in range(1, count + 1)]
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_bench_with_a_pause_keeps_its_time() -> None:
    loop = asyncio.get_running_loop()
    async with demo() as base, httpx.AsyncClient() as client:
        start = loop.time()
        body = {"messages": said("bench:5:20"), "stream": True}
        await client.post(f"{base}/chat/completions", json=body)
        assert 0.08 <= loop.time() - start < 2


async def test_a_demonstration_is_paced_in_few_writes() -> None:
    pieces = len(TOKEN.findall(text_file("tour", "en")))
    loop = asyncio.get_running_loop()
    async with demo(pace=2000) as base, httpx.AsyncClient() as client:
        start, reads = loop.time(), 0
        body = {"messages": said("hello"), "stream": True}
        async with client.stream("POST", f"{base}/chat/completions", json=body) as answer:
            async for _ in answer.aiter_raw():
                reads += 1
        took = loop.time() - start
    assert took >= pieces / 2000 * 0.5
    assert reads < pieces / 4


async def test_a_named_tool_is_called_once_and_its_result_is_the_answer() -> None:
    async with demo() as base:
        message = await whole(base, said('tool:set_profile {"key":"a","value":"b c"}'), tools=TOOLS)
        call = message["tool_calls"][0]["function"]
        assert (call["name"], json.loads(call["arguments"])) == (
            "set_profile",
            {"key": "a", "value": "b c"},
        )
        done = called(call["name"], call["arguments"], "stored a: b c")
        text = 'tool:set_profile {"key":"a","value":"b c"}'
        assert (await whole(base, said(text, *done), tools=TOOLS))["content"] == "stored a: b c"


async def test_each_call_has_an_id_of_its_own() -> None:
    async with demo() as base:
        found = [await whole(base, said("time"), tools=TOOLS) for _ in range(3)]
    assert len({message["tool_calls"][0]["id"] for message in found}) == 3


async def test_the_log_tells_what_was_asked_in_order(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    async with demo(log=log) as base:
        await whole(base, said("one"))
        await whole(base, said("time", *called("current_time", "{}", "now")), tools=TOOLS)
    entries = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert [(e["n"], e["text"], e["messages"], e["tool_result"]) for e in entries] == [
        (1, "one", 2, False),
        (2, "time", 4, True),
    ]


async def test_a_bad_request_is_refused() -> None:
    async with demo() as base, httpx.AsyncClient() as client:
        for content in (b"{", b"[]"):
            answer = await client.post(f"{base}/chat/completions", content=content)
            assert answer.status_code == 400
        empty = await client.post(f"{base}/chat/completions", json={"messages": None, "tools": 7})
    assert empty.status_code == 200


async def test_the_command_serves_an_inherited_socket_until_it_is_told_to_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = str(listener.fileno())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "assistant.py"),
            "demo-model",
            "--fd",
            number,
            pass_fds=(listener.fileno(),),
            env={"PATH": os.environ["PATH"]},
        )
        port = listener.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=20) as client:
        assert (await client.get("/models")).status_code == 200
        body = {"messages": said("Tell me something long"), "stream": True}
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            assert await anext(answer.aiter_raw())
            process.send_signal(signal.SIGTERM)
            await wait_until(lambda: process.returncode is not None, timeout=5)
    assert process.returncode == 0
