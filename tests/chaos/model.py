"""The scripted model with bad days: a request that comes while a fault is due meets it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
from aiohttp import web

from api.demo.model import create_demo_app

ModelFault = Literal["slow", "hang", "stall", "garbage", "endless", "cut", "error", "noise"]
"""slow: a late start · hang: no answer, then a cut · stall: silence within the answer · garbage: no
protocol at all · endless: never done · cut: breaks off in the middle · error: HTTP 500 · noise:
bytes of no meaning in the middle of an answer."""

LABEL = re.compile(r"\[(c\d+-\d+-m\d+)\]")
"""How the campaign's messages name themselves."""

HANG = 12.0
ENDLESS = 4.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FaultyModel:
    """``due`` holds the faults of the next requests; ``touched`` which messages met one."""

    url: str = ""
    due: deque[ModelFault] = field(default_factory=deque[ModelFault])
    touched: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    asked: Counter[str] = field(default_factory=Counter[str])

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """One request, bad or good."""
        if not request.path.endswith("/chat/completions"):
            return await handler(request)
        label = label_of(await request.read())
        self.asked[label] += 1
        if not self.due:
            return await handler(request)
        fault = self.due.popleft()
        self.touched.setdefault(label, []).append(fault)
        return await self._answer(fault, request, handler)

    async def _answer(
        self, fault: ModelFault, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        match fault:
            case "slow":
                await asyncio.sleep(1.0)
                return await handler(request)
            case "hang":
                await asyncio.sleep(HANG)
                return cut(request)
            case "error":
                return web.json_response({"error": {"message": "out of luck"}}, status=500)
            case "garbage":
                return web.Response(body=os.urandom(2000), content_type="text/html")
            case "stall" | "endless" | "cut" | "noise":
                return await stream(fault, request)


def label_of(raw: bytes) -> str:
    """The label of the newest message in a request."""
    messages: list[dict[str, Any]] = orjson.loads(raw).get("messages", [])
    users = [str(m.get("content")) for m in messages if m.get("role") == "user"]
    found = LABEL.findall(users[-1]) if users else []
    return found[-1] if found else ""


def cut(request: web.Request) -> web.Response:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def chunk(text: str) -> bytes:
    """One piece of an answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + orjson.dumps({"id": "x", "model": "m", "choices": [choice]}) + b"\n\n"


async def stream(fault: ModelFault, request: web.Request) -> web.StreamResponse:
    """An answer that begins well."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    end = loop.time() + ENDLESS
    try:
        for number in range(5):
            await response.write(chunk(f"w{number} "))
            await asyncio.sleep(0.02)
        while fault == "endless" and loop.time() < end:
            await response.write(chunk("on and "))
            await asyncio.sleep(0.02)
        if fault == "stall":
            await asyncio.sleep(HANG)
        if fault == "noise":
            await response.write(b"data: {]\n\n" + os.urandom(300) + b"\n\ndata: [DONE]\n\n")
            await response.write_eof()
            return response
    except ConnectionError:
        return response
    cut(request)
    return response


@asynccontextmanager
async def faulty_model(log: Path) -> AsyncGenerator[FaultyModel]:
    """A model server on a free port."""
    model = FaultyModel()
    app = create_demo_app(pace=0, log=log)
    app.middlewares.append(model.serve)
    # It breaks connections on purpose; aiohttp's complaints about that are of no use.
    quiet = logging.getLogger("tests.chaos.model")
    quiet.setLevel(logging.CRITICAL)
    runner = web.AppRunner(app, access_log=None, logger=quiet, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield model
    finally:
        await runner.cleanup()
