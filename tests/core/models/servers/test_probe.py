"""Test connection: what the report says of good, odd and useless servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from core.models.gateway import Gateway
from core.models.servers import capabilities
from core.models.servers.probe import ProbeReport, probe
from core.models.wire.transport import open_transport
from core.settings.groups import ModelSettings, Settings
from core.store.redis import RedisClient
from tests.support.gateways import ask
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

CALL = {
    "index": 0,
    "id": "c1",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
USED = {"prompt_tokens": 9, "completion_tokens": 2}


async def good(request: web.Request) -> web.StreamResponse:
    """A server that can do everything."""
    if request.path == "/v1/models":
        return web.json_response({"data": [{"id": "bge-m3"}, {"id": "m", "owned_by": "llamacpp"}]})
    if request.path == "/props":
        return web.json_response({"default_generation_settings": {"n_ctx": 32768}})
    body = json.loads(await request.text())
    end = (chunk({}, "stop", usage=USED), DONE)
    if "tools" in body and "weather" in body["messages"][-1]["content"]:
        return await answer(request, chunk({"tool_calls": [CALL]}), *end)
    if "response_format" in body:
        return await answer(request, chunk({"content": '{"colour": "red"}'}), *end)
    thought = chunk({"reasoning_content": "hm"})
    return await answer(request, thought, chunk({"content": "ready"}), *end)


async def measure(handler: Handler, **model: Any) -> tuple[ProbeReport, ModelServer]:
    """The report on a server."""
    async with serve(handler) as server, open_transport() as transport:
        values: dict[str, Any] = {"base_url": server.base_url, **model}
        return await probe(transport, ModelSettings(**values), total=5), server


def oks(report: ProbeReport) -> dict[str, bool | None]:
    """Outcome of each step."""
    return {step.name: step.ok for step in report.steps}


async def test_a_good_server() -> None:
    report, _ = await measure(good)
    assert report.refused is None
    assert set(oks(report).values()) == {True}
    assert list(oks(report)) == [
        "reach",
        "models",
        "chat",
        "streaming",
        "reasoning",
        "tools",
        "json",
        "context",
    ]
    known = report.capabilities
    assert (known.streaming, known.tools, known.tool_choice, known.json_schema) == (True,) * 4
    assert (known.stream_usage, known.reasoning, known.close_only_think) == (True, True, False)
    assert (known.context_window, known.source) == (32768, "probed")
    assert (report.model, report.kind) == ("m", "llamacpp")
    assert json.loads(json.dumps(report.to_json()))["steps"][0]["name"] == "reach"


async def test_a_modest_server() -> None:
    async def modest(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "m", "max_model_len": 4096}]})
        body = json.loads(await request.text())
        for name in ("stream_options", "response_format"):
            if name in body:
                return refuse(400, f"Unknown field {name}", param=name)
        if "tools" in body:
            return refuse(400, "m does not support tools")
        if body["messages"][0]["role"] == "system":
            return refuse(400, "System role not supported")
        message = {"role": "assistant", "content": "ready"}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    report, _ = await measure(modest)
    assert report.refused is None
    steps = oks(report)
    assert (steps["chat"], steps["streaming"], steps["tools"]) == (True, False, False)
    assert (steps["json"], steps["context"]) == (False, False)
    known = report.capabilities
    assert (known.system_role, known.tools, known.stream_usage) == (False, False, False)
    assert known.refused_parameters == ("stream_options", "response_format")
    assert known.context_window == 4096


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (401, "Bad key", "model.api_key"),
        (404, "Not Found", "/v1"),
        (500, "Boom", "Boom"),
    ],
)
async def test_a_useless_server_is_refused_with_a_reason(
    status: int, message: str, words: str
) -> None:
    async def useless(request: web.Request) -> web.StreamResponse:
        return refuse(status, message)

    report, _ = await measure(useless)
    assert report.refused is not None
    assert words in report.refused
    assert oks(report) == {"reach": False}


async def test_a_server_that_is_away() -> None:
    async with open_transport() as transport:
        report = await probe(transport, ModelSettings(base_url="http://127.0.0.1:9/v1"))
    assert report.refused is not None
    assert "model.base_url" in report.refused
    assert report.refused_code == report.steps[0].code == "unreachable"


async def test_a_server_with_embeddings_only() -> None:
    async def embedder(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "nomic-embed-text"}]})

    report, _ = await measure(embedder)
    assert oks(report) == {"reach": True, "models": False}
    assert "no chat model" in (report.refused or "")
    assert (report.refused_code, report.steps[-1].code) == ("no_model", "no_model")


async def test_a_configured_name_works_without_a_list() -> None:
    async def listless(request: web.Request) -> web.StreamResponse:
        return refuse(404, "no such route") if request.path == "/v1/models" else await good(request)

    report, _ = await measure(listless, name="m")
    assert report.refused is None
    assert oks(report)["models"] is None


async def test_a_server_that_loads_is_waited_for() -> None:
    asked = 0

    async def loading(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return refuse(503, "Loading model") if asked < 3 else await good(request)

    report, _ = await measure(loading)
    assert report.refused is None


async def test_a_model_that_hangs_is_refused_in_time() -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/models":
            return await good(request)
        response = await start_stream(request)
        await asyncio.sleep(30)
        return response

    async with serve(hangs) as server, open_transport() as transport:
        settings = ModelSettings(base_url=server.base_url)
        report = await asyncio.wait_for(probe(transport, settings, total=0.5), 5)
    assert oks(report) == {"reach": True, "models": True, "chat": False}
    assert "No answer within" in (report.refused or "")


LM_STUDIO_1 = {
    "models": [
        {
            "key": "m",
            "max_context_length": 131072,
            "loaded_instances": [{"id": "m", "config": {"context_length": 12000}}],
        }
    ]
}
LM_STUDIO_0 = {"data": [{"id": "m", "max_context_length": 131072, "loaded_context_length": 12001}]}
OLLAMA_PS = {"models": [{"name": "m", "context_length": 12002}]}
OLLAMA_SHOW = {"parameters": "stop x\nnum_ctx                        12003\n"}


@pytest.mark.parametrize(
    ("owner", "path", "data", "size"),
    [
        ("organization_owner", "/api/v1/models", LM_STUDIO_1, 12000),
        ("organization_owner", "/api/v0/models", LM_STUDIO_0, 12001),
        ("library", "/api/ps", OLLAMA_PS, 12002),
        ("library", "/api/show", OLLAMA_SHOW, 12003),
        ("llamacpp", "/props", {"n_ctx": 12004}, 12004),
        ("somebody", "/api/ps", OLLAMA_PS, 12002),
        ("somebody", "/nothing", {}, None),
    ],
)
async def test_the_real_context_size(owner: str, path: str, data: Any, size: int | None) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "m", "owned_by": owner}]})
        if request.path == path:
            return web.json_response(data)
        if request.path.endswith("/chat/completions"):
            return await say(request, "ready")
        return web.json_response({"error": f"Unexpected endpoint ({request.path})"})

    report, _ = await measure(handle)
    assert report.capabilities.context_window == size


async def test_the_gateway_remembers_what_was_measured(
    gateway: Gateway, at: Callable[..., Settings], redis: RedisClient
) -> None:
    async with serve(good) as server:
        settings = at(server.base_url)
        report = await gateway.probe(settings.model)
        assert report.refused is None
        await ask(gateway, settings)
        assert server.bodies[-1]["stream_options"] == {"include_usage": True}
        assert await gateway.context_window(settings) == 32768
        assert await capabilities.load(redis, server.base_url, "m") == report.capabilities


async def test_without_any_server_the_report_says_so(
    gateway: Gateway, at: Callable[..., Settings]
) -> None:
    report = await gateway.probe(at("", name="").model)
    assert "No model server was found" in (report.refused or "")
