"""Model servers on a free port: one replays the recorded quirks, one follows a script of a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

FIXTURE = Path(__file__).parent.parent / "fixtures" / "model_quirks.jsonl"
BLOCK_PAUSE = 0.001
PACE = 0.1
"""Recorded waits are played ten times as fast."""

Scenario = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def load_scenarios() -> dict[str, Scenario]:
    """The recorded quirks by name."""
    lines = FIXTURE.read_text(encoding="utf-8").splitlines()
    return {scenario["name"]: scenario for scenario in map(json.loads, lines)}


@dataclass
class Seen:
    """What reached a server."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class ModelServer:
    """A running server and what it was asked."""

    port: int
    seen: list[Seen] = field(default_factory=list[Seen])
    dropped: int = 0

    @property
    def url(self) -> str:
        """Root without /v1."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Base URL with /v1."""
        return f"{self.url}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Bodies of the chat requests."""
        return [seen.body for seen in self.seen if seen.path.endswith("/chat/completions")]


@asynccontextmanager
async def serve(handler: Handler) -> AsyncGenerator[ModelServer]:
    """Run ``handler`` for every path on a free port; each request is kept in ``seen``."""
    server = ModelServer(0)

    async def handle(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body: dict[str, Any] = json.loads(raw) if raw else {}
        server.seen.append(Seen(request.path, body, dict(request.headers)))
        try:
            return await handler(request)
        except (ConnectionResetError, asyncio.CancelledError):
            server.dropped += 1
            raise

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)  # transports close in the loop's next round


@asynccontextmanager
async def serve_quirks() -> AsyncGenerator[ModelServer]:
    """Every scenario under ``/{name}/v1/…``."""
    scenarios = load_scenarios()

    async def handle(request: web.Request) -> web.StreamResponse:
        return await replay(request, scenarios[request.path.split("/")[1]], scenarios)

    async with serve(handle) as server:
        yield server


async def replay(
    request: web.Request, scenario: Scenario, scenarios: dict[str, Scenario]
) -> web.StreamResponse:
    """Answer as recorded."""
    if scenario.get("delay"):
        # jit_slow: nothing for a while, then a normal answer.
        await asyncio.sleep(scenario["delay"] * PACE)
        scenario = scenarios["ok"]
    if scenario["kind"] != "sse":
        body = scenario["body"]
        if isinstance(body, str):
            return web.Response(status=scenario["status"], text=body, content_type="text/html")
        return web.json_response(body, status=scenario["status"])
    response = await start_stream(request)
    for block in scenario["blocks"]:
        data = (block + "\n\n").encode()
        size = scenario.get("split_bytes") or len(data)
        for at in range(0, len(data), size):
            await response.write(data[at : at + size])
        await asyncio.sleep(BLOCK_PAUSE)
    if scenario.get("stall"):
        await asyncio.sleep(scenario["gap"] * PACE)
    if scenario.get("cut"):
        await asyncio.sleep(0.02)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def start_stream(request: web.Request) -> web.StreamResponse:
    """Headers of an event stream."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One chunk as an event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}
    return f"data: {json.dumps(data)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


async def answer(request: web.Request, *parts: bytes) -> web.StreamResponse:
    """Stream the given bytes, one write each, and end."""
    response = await start_stream(request)
    for part in parts:
        await response.write(part)
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def say(request: web.Request, text: str) -> web.StreamResponse:
    """A plain answer with usage."""
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    return await answer(request, chunk({"content": text}), chunk({}, "stop", usage=usage), DONE)


def refuse(status: int, message: str, **fields: Any) -> web.Response:
    """An error in OpenAI's form."""
    return web.json_response({"error": {"message": message, **fields}}, status=status)
