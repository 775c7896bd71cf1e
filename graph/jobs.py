"""Background jobs that need the graph's own storage."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from core.jobs.jobs import ERASE_THREAD, Job
from core.services import Services
from graph.checkpoint.select import Saver


async def erase_thread(services: Services, saver: Saver, thread_id: str) -> None:
    """Remove what is left of a deleted conversation. Raises StoreError."""
    await saver.adelete_thread(thread_id)
    await services.threads.erase_rest(thread_id)


async def erase_deleted(services: Services, saver: Saver) -> None:
    """Erase what no job erased, because the process that deleted it died before it could ask, or
    the server was full. Raises StoreError."""
    for thread_id in await services.threads.deleted():
        await erase_thread(services, saver, thread_id)


JOBS: tuple[Job, ...] = (
    Job(ERASE_THREAD, erase_thread),
    Job("erase_deleted", erase_deleted, every=timedelta(minutes=1)),
)
"""Each function takes the services, the checkpoints, and then the strings that it is asked with."""


def bind(jobs: Sequence[Job], services: Services, saver: Saver) -> Sequence[Job]:
    """The jobs with what this process holds: they take strings only."""
    return tuple(
        replace(job, function=functools.partial(job.function, services, saver)) for job in jobs
    )
