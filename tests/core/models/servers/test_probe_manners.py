"""Test connection with servers of bad manners: closed connections, busy, small, hostile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from core.models.gateway import Gateway
from core.models.servers.catalog import MOST_MODELS, parse_models
from core.models.servers.probe import ProbeReport, probe
from core.models.wire.transport import open_transport
from core.settings.groups import ModelSettings, Settings
from tests.support.gateways import WEATHER, ask
from tests.support.quirks_server import DONE, Handler, answer, chunk, say, serve, start_stream

Settle = Callable[..., Settings]
CALL = {"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": "{}"}}
END = (chunk({}, "stop"), DONE)


async def measure(handler: Handler, total: float = 5) -> ProbeReport:
    """The report on a server."""
    async with serve(handler) as server, open_transport() as transport:
        return await probe(transport, ModelSettings(base_url=server.base_url), total=total)


def listed(handler: Handler) -> Handler:
    """A server with one model."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "m"}]})
        if not request.path.endswith("/chat/completions"):
            return web.json_response({"error": "no such path"}, status=404)
        return await handler(request)

    return handle


def ok_of(report: ProbeReport, name: str) -> bool | None:
    """Outcome of a step."""
    return next(step.ok for step in report.steps if step.name == name)


async def calls(request: web.Request) -> web.StreamResponse:
    """A model that calls a tool when it needs one."""
    body = await request.json()
    if "tools" in body and "weather" in body["messages"][-1]["content"]:
        return await answer(request, chunk({"tool_calls": [CALL]}), *END)
    return await say(request, "ready")


async def test_a_server_that_closes_connections_is_asked_again() -> None:
    async def closes(request: web.Request) -> web.StreamResponse:
        response = await calls(request)
        if request.transport is not None:
            # As llama.cpp does: after the answer, without a word before it.
            asyncio.get_running_loop().call_later(0.005, request.transport.abort)
        return response

    report = await measure(listed(closes))
    assert report.refused is None
    assert ok_of(report, "tools") is True


async def test_a_busy_server_is_waited_for_and_a_long_answer_is_cut() -> None:
    async def busy(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await asyncio.sleep(0.3)
        while True:
            await response.write(chunk({"content": "word "}))
            await asyncio.sleep(0.01)

    report = await measure(listed(busy), total=2)
    assert report.refused is None
    assert ok_of(report, "chat") is True


async def test_tools_of_a_model_that_calls_none_are_not_offered(
    gateway: Gateway, at: Settle
) -> None:
    async with serve(listed(lambda request: say(request, "Sunny, I guess."))) as server:
        report = await gateway.probe(at(server.base_url).model)
        await ask(gateway, at(server.base_url), tools=[WEATHER])
        await ask(gateway, at(server.base_url, tools="on"), tools=[WEATHER])
    assert ok_of(report, "tools") is False
    assert ["tools" in body for body in server.bodies[-2:]] == [False, True]


@pytest.mark.parametrize("said", ['{"name": "get_weather"}', "```json\n{}\n```", None])
async def test_a_model_that_calls_tools_for_plain_questions_is_offered_none(
    said: str | None,
) -> None:
    async def junk(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "tools" not in body:
            return await say(request, "ready")
        if said is None or "weather" in body["messages"][-1]["content"]:
            return await answer(request, chunk({"tool_calls": [CALL]}), *END)
        return await say(request, said)

    report = await measure(listed(junk))
    assert ok_of(report, "tools") is False
    assert report.capabilities.tools is False


async def test_tools_can_be_switched_off(gateway: Gateway, at: Settle) -> None:
    async with serve(lambda request: say(request, "Hi")) as server:
        await ask(gateway, at(server.base_url, tools="off"), tools=[WEATHER])
    assert "tools" not in server.bodies[0]


def event(raw: str) -> bytes:
    """A line of a stream, as it is."""
    return f"data: {raw}\n\n".encode()


DEEP = "[" * 100_000 + "]" * 100_000
NESTED = "[" * 900 + "]" * 900
HOSTILE: dict[str, Any] = {
    "deep chunk": event('{"choices": ' + DEEP + "}"),
    "deep error": event('{"error": {"message": "x", "code": ' + NESTED + "}}"),
    "deep arguments": chunk(
        {"tool_calls": [{**CALL, "function": {"name": "x", "arguments": DEEP}}]}
    ),
    "unhashable": chunk(
        {"tool_calls": [{**CALL, "function": {"name": "x", "arguments": "{[]: 1}"}}]}
    ),
    "digits": event('{"error": {"message": "maximum context length is ' + "9" * 5000 + '"}}'),
    "tags": event('{"error": {"message": "' + "<" * 65_000 + '"}}'),
    "numbers": event('{"choices": [{"delta": {"content": 1e999}}], "usage": 1e400}'),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_ends_in_a_report(name: str) -> None:
    began = time.monotonic()
    report = await measure(listed(lambda request: answer(request, HOSTILE[name], *END)))
    assert time.monotonic() - began < 5
    assert json.dumps(report.to_json())


async def test_an_endless_answer_is_cut(gateway: Gateway) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        while True:
            await response.write(chunk({"content": "x" * 100_000}))

    began = time.monotonic()
    await measure(listed(endless))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "item",
    ["m", {"id": "x" * 10_000}, {"id": "m", "type": json.loads(NESTED), "owned_by": {}}],
)
def test_a_list_without_end_is_cut(item: Any) -> None:
    models = parse_models({"data": [item] * (MOST_MODELS * 3)})
    assert len(json.dumps([info.id for info in models])) < 10 * MOST_MODELS
