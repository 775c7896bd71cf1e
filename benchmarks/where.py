"""Where a turn's time goes: ``python -m benchmarks.where`` samples web and worker with py-spy.

A sample counts for the innermost frame that belongs to an area below. Time inside the event loop
itself (uvloop: waiting, and reading and writing sockets) cannot be told apart and is left out.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from benchmarks.latency import TOKENS, run
from benchmarks.machine import role
from benchmarks.report import table
from benchmarks.subjects import Chat, model_server, ours

SECONDS = 20
RATE = 500
PY_SPY = "py-spy"

AREAS = {
    "redis-py and hiredis": r"[(/](redis|hiredis)/|core/store",
    "LangGraph": r"langgraph|\((pregel|channels|graph/state|_internal)",
    "LangGraph's serializer": r"serde/",
    "LangChain messages": r"langchain_core|pydantic",
    "checkpoints": r"graph/checkpoint",
    "aiohttp (to the model)": r"aiohttp/",
    "model gateway": r"core/models/",
    "nodes": r"\(nodes/",
    "turn, journal, engine": r"graph/|core/(engine/|events|ids|conversations/inbox)",
    "fan-out and event streams": r"core/conversations|store/listening|api/stream|sse_starlette",
    "uvicorn": r"uvicorn/",
    "FastAPI and Starlette": r"(fastapi|starlette|anyio)/",
    "guard, headers, routes": r"\(api/|dashboard/",
    "metrics and traces": r"prometheus|telemetry|opentelemetry|core/metrics|core/telemetry",
    "docket": r"docket/",
}
IDLE = re.compile(r"\((asyncio/runners|uvloop/__init__|concurrent/futures/thread)\.py")


def areas(raw: str) -> tuple[Counter[str], Counter[str]]:
    """Samples by area, and by function with all that it calls."""
    found, functions = Counter[str](), Counter[str]()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        if IDLE.search(frames[-1]):
            continue
        found[_area(frames)] += int(count)
        for frame in set(frames):
            functions[frame] += int(count)
    return found, functions


def _area(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, pattern in AREAS.items():
            if re.search(pattern, frame):
                return name
    return "other"


async def record(pid: int, file: Path) -> asyncio.subprocess.Process:
    """Start sampling a process."""
    options = ("record", "--pid", str(pid), "--duration", str(SECONDS), "--rate", str(RATE))
    return await asyncio.create_subprocess_exec(
        PY_SPY,
        *(*options, "--format", "raw", "--output", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def _talk(chat: Chat) -> int:
    turns, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        await chat.turn(TOKENS)
        turns += 1
    return turns


async def main() -> None:
    """Sample while turns run one after another, and print the shares."""
    async with model_server() as url, ours(url) as subject:
        await subject.start()
        chat = await subject.open()
        await run(chat, 50)
        pids = {role(pid): pid for pid in subject.pids()}
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / name for name in ("worker", "web")}
            samplers = [await record(pids[name], file) for name, file in files.items()]
            print(f"{await _talk(chat)} turns of {TOKENS} tokens\n")
            for sampler in samplers:
                await sampler.wait()
            for name, file in files.items():
                found, functions = areas(file.read_text())
                rows = [[a, f"{100 * n / found.total():.0f} %"] for a, n in found.most_common(14)]
                print(f"{table((name, 'share'), rows)}\n")
                for function, count in functions.most_common(60)[10:]:
                    print(f"  {100 * count / found.total():5.1f} % {function}")
                print()


if __name__ == "__main__":
    uvloop.run(main())
