"""Background jobs and schedules: durable, retried, run by any worker. Turns do not go through here
(docs/decisions.md says why).

What does the work (core/jobs/queue.py, on pydocket) takes a quarter of a second to load, so
it is loaded when it is needed: in the web process with the first job, in a worker when that is
ready.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from redis.exceptions import RedisError

from core.errors import ConfigError
from core.store.client import DEADLINE
from core.store.errors import translate

log = logging.getLogger(__name__)

SHORTEST = timedelta(seconds=2)
"""Between two runs of a periodic job: the queue looks at its schedule no more often."""


@dataclass(frozen=True, slots=True)
class Job:
    """A background job. It must be safe to repeat."""

    name: str
    """What it is asked for by."""

    function: Callable[..., Awaitable[None]]
    """Takes plain strings only. A run that raises is tried again within minutes, one of a periodic
    job when its time comes."""

    every: timedelta | None = None
    """None: it runs when it is asked for. Else it takes no strings, and runs by itself, once
    for the installation, however many workers there are."""


def check_jobs(jobs: Sequence[Job]) -> None:
    """Raises ConfigError, which names the job, for entries that cannot work."""
    for name, count in Counter(job.name for job in jobs).items():
        if not name.isidentifier():
            raise ConfigError(f"a background job cannot be called {name!r}; use a name like a_job")
        if count > 1:
            raise ConfigError(f"two background jobs are called {name}; rename one of them")
    for job in jobs:
        if not inspect.iscoroutinefunction(job.function):
            raise ConfigError(f"the background job {job.name} is not an async function")
        if job.every is not None:
            _check_period(job, job.every)


def _check_period(job: Job, every: timedelta) -> None:
    if every < SHORTEST:
        raise ConfigError(
            f"the background job {job.name} cannot run more often than every "
            f"{SHORTEST.total_seconds():.0f} seconds"
        )
    try:
        inspect.signature(job.function).bind()
    except TypeError as error:
        raise ConfigError(
            f"the periodic job {job.name} takes arguments ({error}), but nobody gives it any"
        ) from error


ERASE_THREAD = "erase_thread"
"""Name of the job that removes what is left of a deleted conversation. Argument: thread id."""

RUNNER_AFTER = 1.0
"""Seconds after its start in which a worker has better things to do than to load the runner."""


class Queue(Protocol):
    """Where jobs wait."""

    async def add(self, name: str, arguments: Sequence[str], key: str, at: datetime) -> None:
        """Raises RedisError, OSError."""
        ...

    async def cancel(self, key: str) -> None:
        """Raises RedisError, OSError."""
        ...


class Implementation(Protocol):
    """What the module that is loaded late must have."""

    def open_queue(self, url: str) -> AbstractAsyncContextManager[Queue]:
        """A queue to put jobs into."""
        ...

    async def run_jobs(self, url: str, jobs: Sequence[Job]) -> None:
        """Run jobs until cancelled."""
        ...


async def _implementation() -> Implementation:
    module = await asyncio.to_thread(importlib.import_module, "core.jobs.queue")
    return cast("Implementation", module)


class Jobs:
    """The client's side: ask for a job, now or at a time. The same key again replaces the time."""

    def __init__(self, open_queue: Callable[[], Awaitable[Queue]]) -> None:
        self._open = open_queue
        self._opening = asyncio.Lock()
        self._queue: Queue | None = None

    async def add(self, name: str, *arguments: str, key: str, at: datetime | None = None) -> None:
        """Run a job once, soon or at ``at`` (aware). Raises StoreError."""
        await self._patiently(
            lambda queue: queue.add(name, arguments, key, at or datetime.now(UTC))
        )

    async def erase_thread(self, thread_id: str) -> None:
        """Erase what is left of a deleted conversation, soon. Raises StoreError."""
        await self.add(ERASE_THREAD, thread_id, key=f"erase:{thread_id}")

    async def cancel(self, key: str) -> None:
        """Take a job back that has not begun. Raises StoreError."""
        await self._patiently(lambda queue: queue.cancel(key))

    async def _patiently(self, call: Callable[[Queue], Awaitable[None]]) -> None:
        if self._queue is None:
            await _implementation()  # takes what it takes, on a small machine seconds
        try:
            async with asyncio.timeout(DEADLINE):
                await call(await self._opened())
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def _opened(self) -> Queue:
        async with self._opening:
            if self._queue is None:
                self._queue = await self._open()
            return self._queue


@asynccontextmanager
async def open_job_client(url: str) -> AsyncGenerator[Jobs]:
    """For processes that ask for jobs but run none."""
    async with AsyncExitStack() as stack:

        async def open_queue() -> Queue:
            return await stack.enter_async_context((await _implementation()).open_queue(url))

        yield Jobs(open_queue)


@asynccontextmanager
async def running_jobs(
    url: str, jobs: Sequence[Job], *, broken: Callable[[], None]
) -> AsyncGenerator[None]:
    """Run jobs in this process until the end of the block. ``broken`` is called when that fails.

    Raises ConfigError for a job that cannot work.
    """
    check_jobs(jobs)

    async def run() -> None:
        await asyncio.sleep(RUNNER_AFTER)
        await (await _implementation()).run_jobs(url, jobs)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("background jobs have stopped", exc_info=task.exception())
            broken()

    task = asyncio.create_task(run(), name="jobs")
    task.add_done_callback(ended)
    try:
        yield
    finally:
        # Stopped by us it may also end without an error: docket takes a cancellation as a request.
        task.remove_done_callback(ended)
        task.cancel()
        await asyncio.wait([task])
