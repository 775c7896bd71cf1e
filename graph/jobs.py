"""Background jobs that need the graph's own storage."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from core.errors import AssistantError
from core.jobs.jobs import ERASE_THREAD, Job
from core.services import Services
from graph.checkpoint.select import Saver

log = logging.getLogger(__name__)

LEFT_OVER_EVERY = 60.0
"""Seconds."""


def job_functions(services: Services, saver: Saver) -> Sequence[Job]:
    """All jobs, bound to this process's services."""

    async def erase_thread(thread_id: str) -> None:
        await erase(services, saver, thread_id)

    erase_thread.__name__ = ERASE_THREAD
    return (erase_thread,)


async def erase(services: Services, saver: Saver, thread_id: str) -> None:
    """Remove what is left of a deleted conversation. Safe to repeat. Raises StoreError."""
    await saver.adelete_thread(thread_id)
    await services.threads.erase_rest(thread_id)


async def erase_deleted(services: Services, saver: Saver) -> None:
    """Erase now and then what no job erased, because whoever deleted it died before it could ask,
    or the server was full. Until cancelled."""
    while True:
        await asyncio.sleep(LEFT_OVER_EVERY * random.uniform(0.5, 1))  # noqa: S311 - jitter
        try:
            for thread_id in await services.threads.deleted():
                await erase(services, saver, thread_id)
        except AssistantError as error:
            log.warning("deleted conversations are not erased yet: %s", error)
