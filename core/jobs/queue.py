"""The queue behind background jobs, on pydocket. Loaded late: see core/jobs/jobs.py.

Arguments are plain strings only, and nothing else is read: see core/jobs/payload.py.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from docket import Docket, ExponentialRetry, Perpetual, Retry, Worker
from redis.exceptions import RedisError

from core.errors import AssistantError
from core.jobs.jobs import Job
from core.jobs.payload import use_plain_payloads
from core.store import keys

log = logging.getLogger(__name__)

Function = Callable[..., Awaitable[None]]

HEARTBEAT = timedelta(seconds=20)
CHECK = timedelta(seconds=10)
"""How often the busy-check and the heartbeat run; the defaults cost 28 Redis commands a second when
idle, these under 2. A new job still starts within milliseconds: the worker blocks on the stream."""

RESOLUTION = timedelta(seconds=2)
"""How late a scheduled job may start; each look at the schedule costs 1.5 ms of CPU."""

REDELIVERY = timedelta(minutes=2)
POOL = 50


def retried() -> ExponentialRetry:
    """Five more tries within some minutes."""
    return ExponentialRetry(
        attempts=6, minimum_delay=timedelta(seconds=1), maximum_delay=timedelta(minutes=2)
    )


class DocketQueue:
    """core.jobs.jobs.Queue on pydocket."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket

    async def add(self, name: str, arguments: Sequence[str], key: str, at: datetime) -> None:
        """Run a job once, at a time. Raises RedisError, OSError."""
        if name not in self._docket.tasks:
            self._docket.register(_elsewhere(name))
        await self._docket.replace(name, at, key)(*arguments)

    async def cancel(self, key: str) -> None:
        """Take a job back that has not begun. Raises RedisError, OSError."""
        await self._docket.cancel(key)


def _elsewhere(name: str) -> Function:
    """Stands in for a job that only workers have: docket asks for the name of a known one."""

    async def job(*_arguments: str) -> None:
        raise NotImplementedError(f"{name} runs in a worker")

    job.__name__ = name
    return job


class _IdleWorker(Worker):
    """A worker that does not listen for cancellations of running jobs, which we never send: docket
    looks for them ten times a second, a third of what an idle worker process costs."""

    async def _cancellation_listener(self) -> None:
        session = self._processing_session
        if session is not None:
            session.cancellation_ready.set()
            await session.stopping.wait()


class Brief(logging.Filter):
    """An outage of Redis is a line in the log, not a traceback a second."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the error into the message; lets every record pass."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RedisError | OSError):
            record.msg, record.args = f"{record.getMessage()} ({type(error).__name__}: {error})", ()
            record.exc_info = None
        return True


_BRIEF = Brief()


def _docket(url: str) -> Docket:
    use_plain_payloads()
    separator = "&" if "?" in url else "?"
    docket = Docket(
        name=keys.docket_name(),
        url=f"{url}{separator}max_connections={POOL}",
        heartbeat_interval=HEARTBEAT,
    )
    # It comes with tasks of its own (one sleeps for as long as its caller likes).
    docket.tasks.clear()
    return docket


@asynccontextmanager
async def open_queue(url: str) -> AsyncGenerator[DocketQueue]:
    """For processes that ask for jobs but run none."""
    async with _docket(url) as docket:
        yield DocketQueue(docket)


async def run_jobs(url: str, jobs: Sequence[Job]) -> None:
    """Run jobs in this process until cancelled."""
    # Its own lines about every job and poll are of no use to a user.
    logging.getLogger("docket").setLevel(logging.WARNING)
    for name in ("docket.worker", "docket.docket", "docket.strikelist", "docket._redelivery"):
        logging.getLogger(name).addFilter(_BRIEF)
    async with _docket(url) as docket:
        for job in jobs:
            docket.register(_when_asked(job) if job.every is None else _periodic(job, job.every))
        worker = _IdleWorker(
            docket,
            concurrency=4,
            minimum_check_interval=CHECK,
            scheduling_resolution=RESOLUTION,
            redelivery_timeout=REDELIVERY,
            reconnection_delay=timedelta(seconds=1),
        )
        async with worker:
            await worker.run_forever()


def _when_asked(job: Job) -> Function:
    async def run(*arguments: str, retry: Retry = retried()) -> None:  # noqa: B008 - docket's way to declare it
        await job.function(*arguments)

    run.__name__ = job.name
    return run


def _periodic(job: Job, every: timedelta) -> Function:
    """Its name is also its key, so all workers together have one schedule for it."""

    async def run(again: Perpetual = Perpetual(every=every, automatic=True)) -> None:  # noqa: B008 - as above
        try:
            await job.function()
        except (AssistantError, RedisError, OSError) as error:
            log.warning("job %s: %s; it runs again in %s", job.name, error, every)

    run.__name__ = job.name
    return run
