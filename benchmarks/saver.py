"""What the saver costs: ``python -m benchmarks.saver`` prints a table.

One superstep adds one message of 400 characters to a conversation of N. Figures are the best of
several runs, so run it on a quiet machine. KiB: what a step adds to the store. Trips: to Redis.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from redis.asyncio import ConnectionPool, Redis

from core.home.embedded import socket_url, start_server
from core.settings.groups import StoreSettings
from core.store.connection import connect
from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from nodes.reducer import messages_reducer

LENGTHS = (10, 100, 1000)
STEPS = 20
RUNS = 4
TEXT = "word " * 80
SQLITE = "langgraph.checkpoint.sqlite.aio"

Size: TypeAlias = "Callable[[], Any]"


class State(TypedDict, total=False):
    """A conversation."""

    messages: Annotated[list[AnyMessage], DeltaChannel(messages_reducer, snapshot_frequency=50)]
    steps: int


class Counting(Redis):
    """Counts round trips."""

    def __init__(self, *, connection_pool: ConnectionPool) -> None:
        super().__init__(connection_pool=connection_pool)
        self.trips = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.trips += 1
        return cast("object", await super().execute_command(*args, **options))


@dataclass
class Subject:
    """A saver to measure: how to see what it stored, and its client if it has one."""

    name: str
    saver: BaseCheckpointSaver[Any]
    stored: Callable[[], Any]
    client: Counting | None = None


@dataclass
class Figures:
    """One line of the table."""

    step_ms: float
    step_kib: float
    step_trips: float
    load_ms: float


async def step(state: State) -> State:
    """Say something."""
    number = state.get("steps", 0)
    return {"messages": [AIMessage(f"{TEXT}{number}")], "steps": number + 1}


def again(state: State) -> str:
    """Go on until enough steps are done."""
    return "step" if state.get("steps", 0) < STEPS else END


def build(saver: BaseCheckpointSaver[Any]) -> Any:
    """A node that runs again and again."""
    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", again, ["step", END])
    return graph.compile(checkpointer=saver)


async def measure(subject: Subject, length: int, thread_id: str) -> Figures:
    """Twenty steps on a conversation of some length, then loading it."""
    graph = build(subject.saver)
    config: Any = {"configurable": {"thread_id": thread_id}, "recursion_limit": 1000}
    history = [HumanMessage(f"{TEXT}{n}", id=f"h{n}") for n in range(length)]
    await graph.aupdate_state(config, {"messages": history, "steps": STEPS}, as_node="step")
    size, trips = await subject.stored(), subject.client.trips if subject.client else 0
    start = time.perf_counter()
    await graph.ainvoke({"steps": 0}, config, durability="sync")
    taken = time.perf_counter() - start
    trips = (subject.client.trips if subject.client else 0) - trips
    grown = await subject.stored() - size
    start = time.perf_counter()
    await graph.aget_state(config)
    load = time.perf_counter() - start
    return Figures(taken / STEPS * 1e3, grown / STEPS / 1024, trips / STEPS, load * 1e3)


def best(runs: list[Figures]) -> Figures:
    """The least of each figure."""
    return Figures(
        min(run.step_ms for run in runs),
        min(run.step_kib for run in runs),
        min(run.step_trips for run in runs),
        min(run.load_ms for run in runs),
    )


async def nothing() -> int:
    """Size of a store that is not measured."""
    return 0


async def redis_size(redis: RedisClient) -> int:
    """Bytes of all names, fields and values; what the server needs around them is not counted."""
    total = 0
    async for name in redis.scan_iter(count=1000):
        kind = await redis.type(name)
        if kind == b"hash":
            total += sum(len(k) + len(v) for k, v in (await redis.hgetall(name)).items())
        elif kind == b"zset":
            total += sum(map(len, await redis.zrange(name, 0, -1)))
    return total


async def file_size(file: Path) -> int:
    """Bytes of a database and of its log."""
    files = (file, file.with_name(f"{file.name}-wal"))
    return sum(part.stat().st_size for part in files if part.exists())


@asynccontextmanager
async def subjects(home: Path) -> AsyncGenerator[list[Subject]]:
    """All savers that are installed."""
    server = await start_server(home, StoreSettings.model_validate({}))
    plain = connect(socket_url(home))
    client = Counting(connection_pool=plain.connection_pool)
    found = [
        Subject("memory", InMemorySaver(), nothing),
        Subject("core", RedisSaver(cast("RedisClient", client)), lambda: redis_size(plain), client),
    ]
    try:
        if importlib.util.find_spec("langgraph.checkpoint.sqlite"):
            file = home / "sqlite.db"

            sqlite = importlib.import_module(SQLITE).AsyncSqliteSaver
            async with sqlite.from_conn_string(str(file)) as saver:
                yield [*found, Subject("sqlite", saver, lambda: file_size(file))]
        else:
            yield found
    finally:
        await plain.aclose()
        await server.stop()


async def main() -> None:
    """Print the table."""
    print("saver    messages  ms/step  KiB/step  trips/step  load ms")
    with tempfile.TemporaryDirectory(prefix="asst-") as folder:
        async with subjects(Path(folder)) as found:
            for length in LENGTHS:
                for subject in found:
                    runs = [await measure(subject, length, f"{length}-{n}") for n in range(RUNS)]
                    line = best(runs)
                    print(
                        f"{subject.name:8} {length:8} {line.step_ms:8.2f} {line.step_kib:9.2f} "
                        f"{line.step_trips:11.2f} {line.load_ms:8.2f}"
                    )


if __name__ == "__main__":
    asyncio.run(main())
