"""What the parts of a turn cost by themselves: ``python -m benchmarks.floor`` prints CPU per turn.

Each row adds one part to what LangGraph, LangChain and redis-py take at the least, so that the sum
shows how far a turn could still be from its target. Best of several runs, in one process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import ClientSession
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from benchmarks.latency import TOKENS
from benchmarks.report import table
from benchmarks.subjects import MODEL, model_server, question
from core.home.embedded import socket_url, start_server
from core.models.gateway import open_gateway
from core.settings.groups import ModelSettings, Settings, StoreSettings
from core.store.client import Store
from core.store.connection import connect
from core.store.redis import RedisClient
from core.store.scripts import read_scripts
from graph.checkpoint.saver import RedisSaver
from graph.checkpoint.turn import TurnSaver
from nodes.state import State

TURNS, RUNS = 60, 6
ANSWER = " ".join(f"t{n}" for n in range(1, 101))
COMMANDS = 9
"""Redis commands of a plain turn, in web process and worker."""

Turn = Callable[[int], Awaitable[object]]


async def answer(state: State) -> dict[str, Any]:
    """A node that asks nobody."""
    return {"messages": [AIMessage(ANSWER, id=f"a{len(state['messages'])}")]}


async def to_the_end(state: State) -> str:
    """The edge of a plain turn."""
    return END


def graph(saver: Callable[[], BaseCheckpointSaver[Any]] | None) -> Turn:
    """A turn of a graph with the product's state and one node."""
    built = StateGraph(State)
    built.add_node("answer", answer)
    built.add_edge(START, "answer")
    built.add_conditional_edges("answer", to_the_end, [END])
    compiled = built.compile()

    async def turn(number: int) -> None:
        compiled.checkpointer = saver() if saver else None
        # The window is as full as the product keeps it: every 20 messages a new conversation.
        config: Any = {"configurable": {"thread_id": f"{id(compiled)}-{number // 10}"}}
        asked: Any = {"messages": [HumanMessage("question", id=f"h{number}")]}
        durable: Any = {"durability": "sync"} if saver else {}
        async for _ in compiled.astream(asked, config, stream_mode="custom", **durable):
            pass
        if isinstance(compiled.checkpointer, TurnSaver):
            await compiled.checkpointer.flush()

    return turn


async def best(turn: Turn) -> float:
    """CPU milliseconds of this process per turn."""
    found: list[float] = []
    number = 0
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(TURNS):
            await turn(number)
            number += 1
        found.append(1e3 * (time.process_time() - started) / TURNS)
    return min(found)


@dataclass
class Fixed:
    """Settings that never change."""

    current: Settings


@asynccontextmanager
async def model_calls(
    redis: RedisClient, home: Path, url: str
) -> AsyncGenerator[tuple[Turn, Turn]]:
    """One streamed answer of 100 tokens, read by aiohttp alone and by the gateway."""
    settings = Settings(home=home, model=ModelSettings(base_url=url, name=MODEL))
    ask = [{"role": "user", "content": question(TOKENS, 0)}]
    body = {"model": MODEL, "messages": ask, "stream": True}
    store = Store(redis, read_scripts())

    async def alone(_: int) -> None:
        async with session.post(f"{url}/chat/completions", json=body) as response:
            await response.read()

    async def called(_: int) -> None:
        stream = gateway.stream(ask, None, settings=settings, user_id="u", thread_id="t")
        async for _pieces in stream:
            pass

    async with (
        ClientSession() as session,
        open_gateway(store, Fixed(settings), ports=()) as gateway,
    ):
        yield alone, called


async def measured(redis: RedisClient, home: Path, url: str) -> list[tuple[str, float]]:
    """Rows of the table."""
    saver = RedisSaver(redis)

    async def commands(_: int) -> None:
        for _ in range(COMMANDS):
            await redis.echo("x" * 400)

    async with model_calls(redis, home, url) as (alone, called):
        model = [
            ("aiohttp: a streamed answer of 100 tokens, not looked at", await best(alone)),
            ("the same through the model gateway, with its accounting", await best(called)),
        ]
    return [
        ("LangGraph: one node, no checkpoints", await best(graph(None))),
        ("… with its own saver in memory", await best(graph(InMemorySaver))),
        ("… with ours on Redis", await best(graph(lambda: TurnSaver.of(saver)))),
        (f"redis-py: {COMMANDS} commands of 400 bytes, one after another", await best(commands)),
        *model,
    ]


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="asst-floor-") as folder:
        home = Path(folder)
        server = await start_server(home, StoreSettings())
        redis = connect(socket_url(home))
        try:
            async with model_server() as url:
                found = await measured(redis, home, url)
        finally:
            await redis.aclose()
            await server.stop()
    rows = [[name, f"{cpu:.2f} ms"] for name, cpu in found]
    print(table(("part", "CPU per turn"), rows))


if __name__ == "__main__":
    uvloop.run(main())
