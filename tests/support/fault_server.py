"""A model server that plays a row of the collected faults of real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from tests.support.quirks_server import ModelServer, chunk, serve, start_stream

FIXTURE = Path(__file__).parent.parent / "fixtures" / "model_faults.jsonl"
PACE = 0.1
"""Waits are played ten times as fast."""

Fault = dict[str, Any]
DONE = [json.loads(chunk({"content": "DONE"}, "stop")[6:]), "[DONE]"]


def load_faults() -> dict[str, Fault]:
    """The collected faults by id."""
    # Not splitlines: a row holds U+2028.
    lines = FIXTURE.read_text(encoding="utf-8").strip().split("\n")
    return {fault["id"]: fault for fault in map(json.loads, lines)}


@asynccontextmanager
async def serve_fault(fault: Fault) -> AsyncGenerator[ModelServer]:
    """Answer as the row says: its own answer first, then what it says comes next; at last the last
    again."""
    answers: list[Any] = [fault["server_chunks"], *fault.get("then", [DONE])]
    left: Iterator[Any] = iter(answers)

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/chat/completions"):
            return web.json_response({"error": "no such path"}, status=404)
        body = json.loads(await request.text())
        if "refusal_body" in fault and "tools" in body:
            return web.json_response(fault["refusal_body"], status=400)
        return await play(request, next(left, answers[-1]))

    async with serve(handle) as server:
        yield server


async def play(request: web.Request, told: Any) -> web.StreamResponse:
    """One answer: a status with a body, or events."""
    if isinstance(told, dict):
        refusal = cast("Fault", told)
        return web.json_response(refusal["body"], status=refusal["status"])
    response = await start_stream(request)
    for item in told:
        if isinstance(item, dict) and "sleep" in item:
            pause: float = cast("Fault", item)["sleep"]
            await asyncio.sleep(pause * PACE)
        elif item == "[DONE]":
            await response.write(b"data: [DONE]\n\n")
        elif isinstance(item, str):
            await response.write(item.encode())
        else:
            await response.write(f"data: {json.dumps(item)}\n\n".encode())
    await response.write_eof()
    return response
