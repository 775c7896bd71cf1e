"""`python -m benchmarks`: everything side by side in one run, as a table and as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

from benchmarks import latency, load, readers, rest, scale
from benchmarks.machine import BUSY, describe
from benchmarks.report import Results, markdown, write_docs
from benchmarks.subjects import (
    ROOT,
    Bare,
    Direct,
    Ours,
    Raw,
    Subject,
    bare,
    direct,
    model_server,
    ours,
)
from core.home.embedded import socket_url
from core.store.connection import connect
from core.store.redis import RedisClient

RESULTS = ROOT / "bench-results"
AT_ONCE = 50
"""Conversations at once when the number of workers is what counts."""

STORED, STORED_FULL = (0, 10_000), (0, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    warm_up: int = 40
    rounds: int = 8
    turns: int = 20
    marks: tuple[int, ...] = (0, 50, 200, 1000)
    bare_marks: tuple[int, ...] = (50, 200)
    loads: tuple[tuple[int, int, int], ...] = ((10, 60, 10), (50, 14, 4), (200, 5, 2))
    """Conversations at once, turns of each with the assistant, and with the bare app."""
    idle_seconds: float = 20
    starts: int = 3
    stored: tuple[int, ...] = STORED
    workers: tuple[int, ...] = (1, 2, 4)
    worker_turns: int = 14
    fair_seconds: float = 10
    crowd: readers.Crowd = field(default_factory=readers.Crowd)


QUICK = Size(
    warm_up=10,
    rounds=2,
    turns=8,
    marks=(0, 50),
    bare_marks=(20,),
    loads=((10, 5, 2), (50, 2, 1)),
    idle_seconds=5,
    starts=1,
    stored=(0, 500),
    workers=(1, 2),
    worker_turns=3,
    fair_seconds=3,
    crowd=readers.Crowd(readers=200, mute=2, streams=(2,), seconds=5),
)


@dataclass
class Bench:
    """Everything that runs, and what was found."""

    size: Size
    raw: Raw
    direct: Direct
    bare: Bare
    ours: Ours
    redis: RedisClient
    results: Results = field(default_factory=Results)

    async def warm_up(self) -> None:
        """Load code, fill caches."""
        for subject in (self.raw, self.direct, self.bare, self.ours):
            await self.warm(subject)

    async def warm(self, subject: Subject | None = None) -> None:
        """Load the code of one of them; of ours, if none is named."""
        chat = await (subject or self.ours).open()
        await latency.run(chat, self.size.warm_up)
        chat.close()

    async def latency(self) -> None:
        """Turns on new conversations, as fast as the model can and at the pace of a real one."""
        subjects = (self.direct, self.bare, self.ours)
        size = self.size
        self.results.latency += await latency.side_by_side(
            self.raw, subjects, rounds=size.rounds, turns=size.turns
        )
        self.results.latency += await latency.side_by_side(
            self.raw, subjects, rounds=1, turns=size.turns, pause_ms=latency.PAUSE_MS
        )

    async def length(self) -> None:
        """Turns in a conversation that grows, and what they store."""
        chat = await self.raw.open()
        own = latency.own_time(await latency.run(chat, 40))
        chat.close()
        scales = latency.Scales(self.ours, self.redis)
        self.results.length += await latency.along(
            self.ours, own, self.size.marks, scales.look, turns=latency.AT_MARK
        )
        self.results.storage = scales.storage(self.size.marks)
        self.results.length += await latency.along(
            self.bare, own, self.size.bare_marks, latency.nothing, turns=8
        )

    async def processes(self) -> None:
        """Which process of the assistant a turn's CPU time goes to."""
        chat = await self.ours.open()
        await latency.run(chat, self.size.warm_up)
        self.results.processes = await latency.by_process(self.ours, chat, 5 * self.size.turns)
        chat.close()

    async def load(self) -> None:
        """Many conversations at once."""
        for threads, each, bare_each in self.size.loads:
            self.results.load.append(await load.under_load(self.ours, threads, each))
            self.results.load.append(await load.under_load(self.bare, threads, bare_each))

    async def readers(self) -> None:
        """A thousand event streams, at a web process that was just started."""
        await self.restart()
        self.results.readers = await readers.measure(self.ours, self.redis, self.size.crowd)

    async def restart(self, workers: int = 1) -> None:
        """Stop, and start again on what is stored."""
        await self.ours.stop()
        await self.redis.connection_pool.disconnect()
        await self.ours.start(workers)

    async def idle(self) -> None:
        """Nothing happens."""
        self.results.idle = await rest.idle(self.ours, self.redis, self.size.idle_seconds)

    async def scale(self) -> None:
        """More workers; quiet users beside a busy one."""
        for workers in self.size.workers:
            await self.restart(workers)
            await self.warm()
            found = await load.under_load(
                self.ours, AT_ONCE, self.size.worker_turns, workers=workers
            )
            self.results.scale.append(found)
        await self.restart()
        await self.warm()
        self.results.fairness = await scale.fairness(self.ours, self.redis, self.size.fair_seconds)

    async def stored(self) -> None:
        """The same turns, and the same rest, with more and more conversations in the store."""
        await self.restart()
        await self.warm()
        have = 0
        for count in self.size.stored:
            await rest.store_threads(self.ours, self.redis, have, count)
            have = count
            turns = await self._turns()
            calm = await rest.idle(self.ours, self.redis, self.size.idle_seconds)
            used = await rest.used_memory(self.redis)
            self.results.stored.append(
                rest.Stored(
                    count, turns.first, turns.total, turns.cpu, calm.cpu, calm.commands, used
                )
            )

    async def _turns(self) -> latency.Latency:
        found = await latency.side_by_side(
            self.raw, [self.ours], rounds=self.size.rounds // 2, turns=self.size.turns
        )
        return found[0]

    async def start(self) -> None:
        """Stop, and start again on what is stored."""
        for _ in range(self.size.starts):
            await self.ours.stop()
            self.results.start.append(await rest.cold_start(self.ours))
        await self.redis.connection_pool.disconnect()


@asynccontextmanager
async def opened(size: Size) -> AsyncGenerator[Bench]:
    """All subjects, started."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(model_server())
        floor = await stack.enter_async_context(direct(url))
        yardstick = await stack.enter_async_context(bare(url))
        assistant = await stack.enter_async_context(ours(url))
        await assistant.start()
        redis = connect(socket_url(assistant.home))
        stack.push_async_callback(redis.aclose)
        yield Bench(size, Raw(url), floor, yardstick, assistant, redis)


def sections(bench: Bench) -> dict[str, Callable[[], Awaitable[None]]]:
    """What `--only` chooses from, in order. A full store comes last: it stays full."""
    return {
        "latency": bench.latency,
        "processes": bench.processes,
        "length": bench.length,
        "load": bench.load,
        "idle": bench.idle,
        "start": bench.start,
        "scale": bench.scale,
        "readers": bench.readers,
        "stored": bench.stored,
    }


NAMES = ("latency", "processes", "length", "load", "idle", "start", "scale", "readers", "stored")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns: a look, no figures")
    parser.add_argument(
        "--full", action="store_true", help=f"with {STORED_FULL[-1]:,} conversations"
    )
    parser.add_argument("--only", action="append", choices=NAMES, help="only this part; repeatable")
    parser.add_argument("--write-docs", action="store_true", help="put the table into the docs")
    return parser.parse_args()


async def measure(size: Size, only: list[str]) -> Results:
    """Run the parts. SIGTERM ends it as Ctrl-C does: everything that it started is stopped."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    machine = describe()
    if float(str(machine["load_average"])) > BUSY:
        print(f"WARNING: the load average is {machine['load_average']}; the figures will be off.\n")
    async with opened(size) as bench:
        bench.results.machine = machine
        await bench.warm_up()
        for name, part in sections(bench).items():
            if name in only:
                print(f"{time.strftime('%H:%M:%S')} {name} …", flush=True)
                await part()
        return bench.results


def main() -> None:
    """Measure, print, keep."""
    options = parse()
    size = QUICK if options.quick else Size(stored=STORED_FULL if options.full else STORED)
    results = uvloop.run(measure(size, options.only or list(NAMES)))
    RESULTS.mkdir(exist_ok=True)
    data: dict[str, Any] = asdict(results)
    file = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(data, indent=1))
    table = markdown(results)
    print(f"\n{table}\n\n{file.relative_to(ROOT)}")
    if options.write_docs:
        write_docs(table)


if __name__ == "__main__":
    main()
