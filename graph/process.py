"""The worker process: composition root of everything that runs turns."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import orjson

from core.accounts.profile import profile_read
from core.asks.answering import answering
from core.engine.watchdog import watched
from core.engine.worker import Worker
from core.jobs.jobs import running_jobs
from core.metrics import show_zeros
from core.services import Process, Services, open_process
from core.settings.source import Loaded, set_strict_msgpack
from core.store import keys
from core.store.reads import Reading
from graph.asks import asks
from graph.build import build_graph, drawing
from graph.checkpoint.select import Saver, open_saver, state_reads
from graph.jobs import JOBS, bind
from graph.runner import Runner
from tools.base import Toolset
from tools.toolbox import Toolbox
from tools.toolsets import TOOLSETS, build_toolbox

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_worker(
    loaded: Loaded, url: str, *, toolsets: Sequence[Toolset] = TOOLSETS
) -> AsyncGenerator[Worker]:
    """A worker ready to run. Raises ConfigError, StoreError."""
    set_strict_msgpack()
    show_zeros()
    async with open_process(loaded, url, role="worker") as process:
        services = process.services
        redis, settings = services.store.redis, services.settings.current
        saver = await services.store.retry(lambda: open_saver(redis, settings))
        toolbox = build_toolbox(services, toolsets)
        worker = await _assemble(process, saver, toolbox)
        questions, jobs = asks(services, toolbox), bind(JOBS, services, saver)
        async with (
            answering(services.store, process.blocking, questions, broken=worker.drain),
            running_jobs(url, jobs, broken=worker.drain),
        ):
            yield worker


async def _assemble(process: Process, saver: Saver, toolbox: Toolbox) -> Worker:
    services = process.services
    graph = build_graph(services.settings, saver)
    await publish_drawing(services, drawing(graph))
    runner = Runner(graph, services, toolbox)
    worker = Worker(
        services.store,
        process.blocking,
        services.settings,
        runner.run,
        runner.give_up,
        name=process.name,
        about=services.gateway.reach_figures,
        reads=turn_reads(saver),
    )
    await process.announcements.hear(keys.cancellations(), worker.hear_cancellation)
    return worker


def turn_reads(saver: Saver) -> tuple[Reading, ...]:
    """What each turn needs at once: read in the round trip of its claim."""
    return (profile_read, *state_reads(saver))


async def publish_drawing(services: Services, data: dict[str, object]) -> None:
    """Leave the graph's drawing where the web process, which holds no graph, finds it."""
    text = orjson.dumps(data)
    await services.store.retry(lambda: services.store.redis.set(keys.graph_drawing(), text))


async def run_worker(loaded: Loaded, url: str, *, toolsets: Sequence[Toolset] = TOOLSETS) -> None:
    """Work until SIGTERM or SIGINT, then drain."""
    async with open_worker(loaded, url, toolsets=toolsets) as worker:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.drain)
        log.info("worker %s is ready", worker.name)
        async with watched(worker.turns, worker.stuck_seconds, url):
            await worker.run()
    log.info("worker %s has stopped", worker.name)
