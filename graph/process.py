"""The worker process: composition root of everything that runs turns."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import orjson

from core.asks.answering import answering
from core.engine.worker import Worker
from core.jobs.jobs import running_jobs
from core.metrics import show_zeros
from core.services import Services, open_services
from core.settings.source import Loaded, set_strict_msgpack
from core.store import keys
from core.store.connection import connect
from core.telemetry.share import sharing
from core.telemetry.tracing import exporting
from graph.asks import asks
from graph.build import build_graph, drawing
from graph.checkpoint.select import open_saver, read_beside
from graph.jobs import erase_deleted, job_functions
from graph.runner import Runner
from tools.base import Toolset
from tools.toolsets import TOOLSETS, build_toolbox

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_worker(
    loaded: Loaded, url: str, *, toolsets: Sequence[Toolset] = TOOLSETS
) -> AsyncGenerator[Worker]:
    """A worker ready to run. Raises ConfigError, StoreError."""
    set_strict_msgpack()
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(loaded, url))
        yield await _assemble(stack, services, url, toolsets)


async def _assemble(
    stack: AsyncExitStack, services: Services, url: str, toolsets: Sequence[Toolset]
) -> Worker:
    redis, settings = services.store.redis, services.settings.current
    saver = await services.store.retry(lambda: open_saver(redis, settings))
    toolbox = build_toolbox(services, toolsets)
    graph = build_graph(services.settings, saver)
    await publish_drawing(services, drawing(graph))
    runner = Runner(graph, services, toolbox)
    blocking = connect(url, blocking=True)
    stack.push_async_callback(blocking.aclose)
    worker = Worker(
        services.store,
        blocking,
        services.settings,
        runner.run,
        runner.give_up,
        about=services.gateway.reach_figures,
        beside=read_beside(saver),
    )
    functions = job_functions(services, saver)
    await stack.enter_async_context(running_jobs(url, functions, broken=worker.drain))
    await stack.enter_async_context(
        answering(services.store, blocking, asks(services, toolbox), broken=worker.drain)
    )
    stack.push_async_callback(_stop, asyncio.create_task(erase_deleted(services, saver)))
    show_zeros()
    await stack.enter_async_context(exporting(worker.name))
    await stack.enter_async_context(sharing(services.store, "worker", worker.name))
    return worker


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def publish_drawing(services: Services, data: dict[str, object]) -> None:
    """Leave the graph's drawing where the web process, which holds no graph, finds it."""
    text = orjson.dumps(data)
    await services.store.retry(
        lambda: cast("Awaitable[object]", services.store.redis.set(keys.graph_drawing(), text))
    )


async def run_worker(loaded: Loaded, url: str, *, toolsets: Sequence[Toolset] = TOOLSETS) -> None:
    """Work until SIGTERM or SIGINT, then drain."""
    async with open_worker(loaded, url, toolsets=toolsets) as worker:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.drain)
        log.info("worker %s is ready", worker.name)
        await worker.run()
    log.info("worker %s has stopped", worker.name)
